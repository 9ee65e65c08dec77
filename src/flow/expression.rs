//! Expressions of t: parsed, evaluated, differentiated, and written as WGSL.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};

use crate::{Error, Result};

/// The longest text, in characters.
const LONGEST: usize = 1000;
/// How deep parentheses, functions, signs and powers may nest.
const DEEPEST: usize = 64;
/// The most operations, numbers and variables, each counted once however often it occurs.
const LARGEST: usize = 256;
/// Integer exponents up to here are products.
const LARGEST_PRODUCT: f64 = 64.0;

/// A function of one argument. All are smooth where they are defined: abs, min and max are left out for that reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Sqrt,
    Exp,
    Log,
    Sin,
    Cos,
    Tan,
    Tanh,
}

/// Their names, and the functions of `shared/expression.wgsl` that compute them.
const FUNCTIONS: [(&str, Function, &str); 7] = [
    ("sqrt", Function::Sqrt, "guarded_sqrt"),
    ("exp", Function::Exp, "exponential"),
    ("log", Function::Log, "logarithm"),
    ("sin", Function::Sin, "sine"),
    ("cos", Function::Cos, "cosine"),
    ("tan", Function::Tan, "tangent"),
    ("tanh", Function::Tanh, "hyperbolic_tangent"),
];

/// Two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

/// A step of a computation; arguments are earlier steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// A finite number, by its bits.
    Number(u64),
    Time,
    Negate(u32),
    Apply(Function, u32),
    Combine(Operator, u32, u32),
}

/// An expression of the time t in ordinary notation.
///
/// | | |
/// | --- | --- |
/// | values | numbers such as `2`, `0.5`, `1e-3`; `t`; `pi`, `e`; constants that are given by name |
/// | operators | `+ - * /`, `^` (right-associative, binds tighter than a sign: `-t^2` is −(t²)), parentheses |
/// | functions | `sqrt exp log sin cos tan tanh`; `log` is the natural one |
///
/// It is kept as a list of steps in which no step occurs twice, so nothing here recurses but the parser, which bounds
/// its depth.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
/// use windfield::flow::Expression;
///
/// let constants = BTreeMap::from([("k".to_owned(), 3.0)]);
/// let expression = Expression::parse("1 - exp(-k*t)", &constants)?;
/// assert_eq!(expression.evaluate(0.0), 0.0);
/// assert_eq!(expression.derivative().evaluate(0.0), 3.0);
/// assert_eq!(expression.derivative().to_string(), "exp(-3.0*t)*3.0");
///
/// let error = Expression::parse("1 - exp(-q*t)", &constants).unwrap_err();
/// assert!(error.to_string().contains("column 10"));
/// # Ok::<(), windfield::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// In the order in which a reader from left to right meets their ends; the last is the value.
    nodes: Vec<Node>,
}

impl Expression {
    /// Reads an expression in which the names of `constants` stand for their values.
    ///
    /// # Errors
    /// [`Error::Config`] with the text, the column and what was expected there; also if the text is longer than 1000
    /// characters, nests deeper than 64 levels, or has more than 256 steps, or if a constant cannot be used.
    pub fn parse(text: &str, constants: &BTreeMap<String, f64>) -> Result<Self> {
        for (name, value) in constants {
            check_constant(name, *value)?;
        }
        let characters: Vec<char> = text.chars().collect();
        if characters.len() > LONGEST {
            return Err(Error::config(
                format!("an expression has {} characters", characters.len()),
                format!("it may have {LONGEST}"),
            ));
        }
        let mut parser = Parser { characters, at: 0, constants, graph: Graph::default() };
        let root = parser.sum(0)?;
        if let Some(found) = parser.peek() {
            let what = match found {
                ')' => "this `)` closes nothing".to_owned(),
                found => format!("`{}` is unexpected here", found.escape_debug()),
            };
            return Err(parser.fault(parser.at, &what, "expected one of + - * / ^ or the end"));
        }
        Ok(parser.graph.extract(root))
    }

    /// The value at `t`. Where it is not defined, it is not finite.
    #[must_use]
    pub fn evaluate(&self, t: f64) -> f64 {
        let mut values: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let at = |id: u32| values[id as usize];
            values.push(match *node {
                Node::Number(bits) => f64::from_bits(bits),
                Node::Time => t,
                Node::Negate(x) => -at(x),
                Node::Apply(function, x) => apply(function, at(x)),
                Node::Combine(operator, x, y) => combine(operator, at(x), at(y)),
            });
        }
        values.last().copied().unwrap_or(f64::NAN)
    }

    /// Value and slope at `t` by dual numbers: forward-mode automatic differentiation, which shares nothing with
    /// [`Expression::derivative`].
    #[must_use]
    pub fn evaluate_dual(&self, t: f64) -> (f64, f64) {
        let mut values: Vec<(f64, f64)> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let at = |id: u32| values[id as usize];
            values.push(match *node {
                Node::Number(bits) => (f64::from_bits(bits), 0.0),
                Node::Time => (t, 1.0),
                Node::Negate(x) => (-at(x).0, -at(x).1),
                Node::Apply(function, x) => {
                    let (x, dx) = at(x);
                    let slope = match function {
                        Function::Sqrt => 0.5 / x.sqrt(),
                        Function::Exp => x.exp(),
                        Function::Log => 1.0 / x,
                        Function::Sin => x.cos(),
                        Function::Cos => -x.sin(),
                        Function::Tan => 1.0 / (x.cos() * x.cos()),
                        Function::Tanh => 1.0 / (x.cosh() * x.cosh()),
                    };
                    // What does not depend on t has no slope, wherever the function is singular.
                    (apply(function, x), if dx == 0.0 { 0.0 } else { slope * dx })
                }
                Node::Combine(operator, x, y) => {
                    let ((x, dx), (y, dy)) = (at(x), at(y));
                    let slope = match operator {
                        Operator::Add => dx + dy,
                        Operator::Subtract => dx - dy,
                        Operator::Multiply => dx * y + x * dy,
                        Operator::Divide => (dx - x / y * dy) / y,
                        Operator::Power => {
                            let base = if dx == 0.0 { 0.0 } else { y * x.powf(y - 1.0) * dx };
                            let exponent = if dy == 0.0 { 0.0 } else { x.powf(y) * x.ln() * dy };
                            base + exponent
                        }
                    };
                    (combine(operator, x, y), slope)
                }
            });
        }
        values.last().copied().unwrap_or((f64::NAN, f64::NAN))
    }

    /// The derivative by t, lightly simplified.
    #[must_use]
    pub fn derivative(&self) -> Self {
        let mut graph = Graph::default();
        let root = graph.absorb(self);
        let derivative = graph.derivative(root);
        graph.extract(derivative)
    }

    /// A WGSL function `fn NAME(t: f32) -> f32`, which needs `shared/expression.wgsl`. It holds what was parsed and
    /// nothing of the text: numbers by their values, names of its own. The arguments of `exp`, `log` and `sqrt` are
    /// clamped to where these are defined and finite in float32, those of `sin`, `cos` and `tan` reduced.
    #[must_use]
    pub fn to_wgsl(&self, name: &str) -> String {
        let mut graph = Graph::default();
        let root = graph.absorb(self);
        let (body, values) = graph.statements(&[root]);
        format!("fn {name}(t: f32) -> f32 {{\n{body}    return {};\n}}\n", values[0])
    }
}

/// The path_schedule of a mean a(t) and a standard deviation b(t): (a, b, a', b') in one WGSL function.
pub(super) fn schedule_wgsl(mean: &Expression, std: &Expression) -> String {
    let mut graph = Graph::default();
    let a = graph.absorb(mean);
    let b = graph.absorb(std);
    let (da, db) = (graph.derivative(a), graph.derivative(b));
    let (body, values) = graph.statements(&[a, b, da, db]);
    format!(
        "//#include \"shared/expression.wgsl\"\n\n// (a, b, a', b') at time t\nfn path_schedule(t: f32) -> vec4f \
         {{\n{body}    return vec4f({});\n}}\n",
        values.join(", ")
    )
}

/// Checks the name and the value of a constant.
fn check_constant(name: &str, value: f64) -> Result<()> {
    let mut characters = name.chars();
    let is_name = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let shown = name.escape_debug();
    if !is_name {
        return Err(Error::config(
            format!("`{shown}` cannot name a constant"),
            "a name is letters, digits and _, and begins with no digit",
        ));
    }
    if name == "t" || name == "pi" || name == "e" || FUNCTIONS.iter().any(|entry| entry.0 == name) {
        return Err(Error::config(
            format!("`{shown}` has a meaning of its own"),
            "give the constant another name",
        ));
    }
    if !value.is_finite() {
        return Err(Error::config(format!("the constant `{shown}` is {value}"), "give a finite number"));
    }
    Ok(())
}

fn apply(function: Function, x: f64) -> f64 {
    match function {
        Function::Sqrt => x.sqrt(),
        Function::Exp => x.exp(),
        Function::Log => x.ln(),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Tanh => x.tanh(),
    }
}

fn combine(operator: Operator, x: f64, y: f64) -> f64 {
    match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => x * y,
        Operator::Divide => x / y,
        Operator::Power => x.powf(y),
    }
}

struct Parser<'a> {
    characters: Vec<char>,
    at: usize,
    constants: &'a BTreeMap<String, f64>,
    graph: Graph,
}

impl Parser<'_> {
    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    /// What is wrong at a character.
    fn fault(&self, at: usize, what: &str, expected: &str) -> Error {
        let text: String = self.characters.iter().flat_map(|c| c.escape_debug()).collect();
        Error::config(format!("the expression `{text}`, column {}: {what}", at + 1), expected)
    }

    fn add(&mut self, node: Node, at: usize) -> Result<u32> {
        let id = self.graph.intern(node);
        if self.graph.nodes.len() > LARGEST {
            return Err(self.fault(at, "it is too large", &format!("it may have {LARGEST} different steps")));
        }
        Ok(id)
    }

    /// sum = product { ("+" | "-") product }
    fn sum(&mut self, depth: usize) -> Result<u32> {
        let mut left = self.product(depth)?;
        while let Some(found) = self.peek() {
            let operator = match found {
                '+' => Operator::Add,
                '-' => Operator::Subtract,
                _ => break,
            };
            let at = self.at;
            self.at += 1;
            let right = self.product(depth)?;
            left = self.add(Node::Combine(operator, left, right), at)?;
        }
        Ok(left)
    }

    /// product = signed { ("*" | "/") signed }
    fn product(&mut self, depth: usize) -> Result<u32> {
        let mut left = self.signed(depth)?;
        while let Some(found) = self.peek() {
            let operator = match found {
                '*' => Operator::Multiply,
                '/' => Operator::Divide,
                _ => break,
            };
            let at = self.at;
            self.at += 1;
            if found == '*' && self.characters.get(self.at) == Some(&'*') {
                return Err(self.fault(at, "`**` is no operator", "a power is written with ^"));
            }
            let right = self.signed(depth)?;
            left = self.add(Node::Combine(operator, left, right), at)?;
        }
        Ok(left)
    }

    /// signed = "-" signed | value [ "^" signed ]
    fn signed(&mut self, depth: usize) -> Result<u32> {
        let first = self.peek();
        if depth > DEEPEST {
            return Err(self.fault(
                self.at,
                "it nests too deeply",
                &format!("it may nest {DEEPEST} levels of parentheses, functions, signs and powers"),
            ));
        }
        let start = self.at;
        if first == Some('-') {
            self.at += 1;
            let operand = self.signed(depth + 1)?;
            return match self.graph.number_at(operand) {
                Some(number) => self.add(Node::Number((-number).to_bits()), start),
                None => self.add(Node::Negate(operand), start),
            };
        }
        let base = self.value(depth)?;
        if self.peek() != Some('^') {
            return Ok(base);
        }
        let at = self.at;
        self.at += 1;
        let exponent = self.signed(depth + 1)?;
        self.add(Node::Combine(Operator::Power, base, exponent), at)
    }

    /// value = number | name | function "(" sum ")" | "(" sum ")"
    fn value(&mut self, depth: usize) -> Result<u32> {
        let expected = "expected a number, t, pi, e, a constant, a function or `(`";
        let Some(found) = self.peek() else {
            return Err(self.fault(self.at, "it ends too early", expected));
        };
        let start = self.at;
        if found.is_ascii_digit() || found == '.' {
            return self.number();
        }
        if found == '(' {
            return self.parentheses(depth);
        }
        if !(found.is_ascii_alphabetic() || found == '_') {
            return Err(self.fault(
                start,
                &format!("`{}` is unexpected here", found.escape_debug()),
                expected,
            ));
        }
        while self.characters.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.characters[start..self.at].iter().collect();
        if let Some((_, function, _)) = FUNCTIONS.iter().find(|entry| entry.0 == name) {
            if self.peek() != Some('(') {
                let what = format!("the function `{name}` has no argument");
                return Err(self.fault(self.at, &what, "expected `(`"));
            }
            let argument = self.parentheses(depth)?;
            return self.add(Node::Apply(*function, argument), start);
        }
        let value = match name.as_str() {
            "t" => return self.add(Node::Time, start),
            "pi" => std::f64::consts::PI,
            "e" => std::f64::consts::E,
            name => match self.constants.get(name) {
                Some(value) => *value,
                None => return Err(self.unknown(start, name)),
            },
        };
        self.add(Node::Number(value.to_bits()), start)
    }

    /// Names that there are not.
    fn unknown(&mut self, start: usize, name: &str) -> Error {
        let functions = FUNCTIONS.map(|entry| entry.0).join(", ");
        if ["abs", "min", "max", "floor", "ceil", "round", "sign"].contains(&name) {
            let what = format!("`{name}` has no derivative everywhere");
            return self.fault(start, &what, &format!("the functions are {functions}"));
        }
        if self.peek() == Some('(') {
            let what = format!("no function is called `{name}`");
            return self.fault(start, &what, &format!("there are {functions}"));
        }
        let mut names = vec!["t", "pi", "e"];
        names.extend(self.constants.keys().map(String::as_str));
        let expected = format!("there are {} and the functions {functions}", names.join(", "));
        self.fault(start, &format!("nothing is called `{name}`"), &expected)
    }

    fn parentheses(&mut self, depth: usize) -> Result<u32> {
        let open = self.at;
        self.at += 1;
        let inside = self.sum(depth + 1)?;
        match self.peek() {
            Some(')') => {
                self.at += 1;
                Ok(inside)
            }
            Some(found) => {
                let what = format!("`{}` is unexpected here", found.escape_debug());
                Err(self.fault(self.at, &what, "expected one of + - * / ^ or `)`"))
            }
            None => {
                let what = format!("the `(` of column {} is not closed", open + 1);
                Err(self.fault(self.at, &what, "expected `)`"))
            }
        }
    }

    /// number = digits [ "." [ digits ] ] [ "e" [ sign ] digits ] | "." digits …
    fn number(&mut self) -> Result<u32> {
        let start = self.at;
        let digit = |at: usize, all: &[char]| all.get(at).is_some_and(char::is_ascii_digit);
        while digit(self.at, &self.characters) {
            self.at += 1;
        }
        if self.characters.get(self.at) == Some(&'.') {
            self.at += 1;
            while digit(self.at, &self.characters) {
                self.at += 1;
            }
        }
        if matches!(self.characters.get(self.at), Some('e' | 'E')) {
            let signed = matches!(self.characters.get(self.at + 1), Some('+' | '-'));
            let first = self.at + 1 + usize::from(signed);
            if digit(first, &self.characters) {
                self.at = first;
                while digit(self.at, &self.characters) {
                    self.at += 1;
                }
            }
        }
        let text: String = self.characters[start..self.at].iter().collect();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => self.add(Node::Number(number.to_bits()), start),
            Ok(_) => Err(self.fault(start, &format!("{text} is too large"), "expected a finite number")),
            Err(_) => Err(self.fault(start, &format!("`{text}` is no number"), "expected one such as 0.5")),
        }
    }
}

/// Steps that several expressions can share.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Node, u32>,
}

impl Graph {
    /// The step's place, a new one only if it is new.
    #[allow(clippy::cast_possible_truncation, reason = "memory ends long before 2^32 steps")]
    fn intern(&mut self, node: Node) -> u32 {
        *self.known.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        })
    }

    /// Takes an expression in, simplifying it, and says where its value is.
    fn absorb(&mut self, expression: &Expression) -> u32 {
        let mut places = Vec::with_capacity(expression.nodes.len());
        for node in &expression.nodes {
            let at = |id: u32| places[id as usize];
            let place = match *node {
                Node::Number(_) | Node::Time => self.intern(*node),
                Node::Negate(x) => self.negate(at(x)),
                Node::Apply(function, x) => self.apply(function, at(x)),
                Node::Combine(operator, x, y) => self.combine(operator, at(x), at(y)),
            };
            places.push(place);
        }
        places.last().copied().unwrap_or(0)
    }

    /// What `root` needs, in the order in which its ends are met from left to right.
    #[allow(clippy::cast_possible_truncation, reason = "memory ends long before 2^32 steps")]
    fn extract(&self, root: u32) -> Expression {
        let mut nodes = Vec::new();
        let mut places: HashMap<u32, u32> = HashMap::new();
        let mut waiting = vec![root];
        while let Some(&id) = waiting.last() {
            if places.contains_key(&id) {
                waiting.pop();
                continue;
            }
            let node = self.nodes[id as usize];
            let arguments: &[u32] = match &node {
                Node::Number(_) | Node::Time => &[],
                Node::Negate(x) | Node::Apply(_, x) => &[*x],
                Node::Combine(_, x, y) => &[*x, *y],
            };
            if let Some(missing) = arguments.iter().find(|id| !places.contains_key(id)) {
                waiting.push(*missing);
                continue;
            }
            waiting.pop();
            places.insert(id, nodes.len() as u32);
            nodes.push(match node {
                Node::Number(_) | Node::Time => node,
                Node::Negate(x) => Node::Negate(places[&x]),
                Node::Apply(function, x) => Node::Apply(function, places[&x]),
                Node::Combine(operator, x, y) => Node::Combine(operator, places[&x], places[&y]),
            });
        }
        Expression { nodes }
    }

    fn number(&mut self, value: f64) -> u32 {
        self.intern(Node::Number(value.to_bits()))
    }

    fn number_at(&self, id: u32) -> Option<f64> {
        match self.nodes[id as usize] {
            Node::Number(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    fn negate(&mut self, x: u32) -> u32 {
        match self.nodes[x as usize] {
            Node::Number(bits) => self.number(-f64::from_bits(bits)),
            Node::Negate(inner) => inner,
            Node::Combine(Operator::Subtract, a, b) => self.combine(Operator::Subtract, b, a),
            _ => self.intern(Node::Negate(x)),
        }
    }

    fn apply(&mut self, function: Function, x: u32) -> u32 {
        if let Some(value) = self.number_at(x).map(|x| apply(function, x)).filter(|value| value.is_finite()) {
            return self.number(value);
        }
        self.intern(Node::Apply(function, x))
    }

    /// A step of two arguments, simplified: constants are worked out, nothing is added, multiplied or raised in vain.
    fn combine(&mut self, operator: Operator, x: u32, y: u32) -> u32 {
        let (left, right) = (self.number_at(x), self.number_at(y));
        if let (Some(left), Some(right)) = (left, right) {
            let value = combine(operator, left, right);
            if value.is_finite() {
                return self.number(value);
            }
        }
        #[allow(clippy::float_cmp, reason = "these very numbers")]
        let is = |side: Option<f64>, value: f64| side.is_some_and(|side| side == value);
        let negated = |graph: &Self, id: u32| match graph.nodes[id as usize] {
            Node::Negate(inner) => Some(inner),
            _ => None,
        };
        match operator {
            Operator::Add if is(left, 0.0) => y,
            Operator::Add | Operator::Subtract if is(right, 0.0) => x,
            Operator::Add if negated(self, y).is_some() => {
                let inner = negated(self, y).unwrap_or(y);
                self.combine(Operator::Subtract, x, inner)
            }
            Operator::Subtract if is(left, 0.0) => self.negate(y),
            Operator::Subtract if x == y => self.number(0.0),
            Operator::Subtract if negated(self, y).is_some() => {
                let inner = negated(self, y).unwrap_or(y);
                self.combine(Operator::Add, x, inner)
            }
            Operator::Multiply | Operator::Divide if is(left, 0.0) => self.number(0.0),
            Operator::Multiply if is(right, 0.0) => self.number(0.0),
            Operator::Multiply if is(left, 1.0) => y,
            Operator::Multiply | Operator::Divide | Operator::Power if is(right, 1.0) => x,
            Operator::Multiply if is(left, -1.0) => self.negate(y),
            Operator::Multiply | Operator::Divide if is(right, -1.0) => self.negate(x),
            Operator::Multiply | Operator::Divide if negated(self, x).is_some() => {
                let inner = negated(self, x).unwrap_or(x);
                let positive = self.combine(operator, inner, y);
                self.negate(positive)
            }
            Operator::Multiply | Operator::Divide if negated(self, y).is_some() => {
                let inner = negated(self, y).unwrap_or(y);
                let positive = self.combine(operator, x, inner);
                self.negate(positive)
            }
            Operator::Power if is(right, 0.0) => self.number(1.0),
            _ => self.intern(Node::Combine(operator, x, y)),
        }
    }

    /// The derivative of a step by t.
    fn derivative(&mut self, root: u32) -> u32 {
        use Operator::{Add, Divide, Multiply, Power, Subtract};
        let zero = self.number(0.0);
        let one = self.number(1.0);
        let mut slopes: Vec<u32> = Vec::with_capacity(root as usize + 1);
        for id in 0..=root {
            let slope_of = |id: u32| slopes[id as usize];
            let slope = match self.nodes[id as usize] {
                Node::Number(_) => zero,
                Node::Time => one,
                Node::Negate(x) => {
                    let dx = slope_of(x);
                    self.negate(dx)
                }
                Node::Apply(_, x) if slope_of(x) == zero => zero,
                Node::Apply(function, x) => {
                    let dx = slope_of(x);
                    match function {
                        Function::Sqrt => {
                            let two = self.number(2.0);
                            let below = self.combine(Multiply, two, id);
                            self.combine(Divide, dx, below)
                        }
                        Function::Exp => self.combine(Multiply, id, dx),
                        Function::Log => self.combine(Divide, dx, x),
                        Function::Sin => {
                            let cosine = self.apply(Function::Cos, x);
                            self.combine(Multiply, cosine, dx)
                        }
                        Function::Cos => {
                            let sine = self.apply(Function::Sin, x);
                            let product = self.combine(Multiply, sine, dx);
                            self.negate(product)
                        }
                        Function::Tan | Function::Tanh => {
                            let square = self.combine(Multiply, id, id);
                            let sign = if function == Function::Tan { Add } else { Subtract };
                            let factor = self.combine(sign, one, square);
                            self.combine(Multiply, factor, dx)
                        }
                    }
                }
                Node::Combine(operator, x, y) => {
                    let (dx, dy) = (slope_of(x), slope_of(y));
                    match operator {
                        Add | Subtract => self.combine(operator, dx, dy),
                        Multiply => {
                            let first = self.combine(Multiply, dx, y);
                            let second = self.combine(Multiply, x, dy);
                            self.combine(Add, first, second)
                        }
                        // (x/y)' = (x' − (x/y)·y')/y
                        Divide => {
                            let second = self.combine(Multiply, id, dy);
                            let above = self.combine(Subtract, dx, second);
                            self.combine(Divide, above, y)
                        }
                        // (x^y)' = y·x^(y−1)·x' + x^y·log(x)·y'
                        Power => {
                            let mut slope = zero;
                            if dx != zero {
                                let less = self.combine(Subtract, y, one);
                                let power = self.combine(Power, x, less);
                                let factor = self.combine(Multiply, y, power);
                                slope = self.combine(Multiply, factor, dx);
                            }
                            if dy != zero {
                                let logarithm = self.apply(Function::Log, x);
                                let factor = self.combine(Multiply, id, logarithm);
                                let second = self.combine(Multiply, factor, dy);
                                slope = self.combine(Add, slope, second);
                            }
                            slope
                        }
                    }
                }
            };
            slopes.push(slope);
        }
        slopes[root as usize]
    }

    /// WGSL statements, one for each step that `roots` need, and the names of the roots' values. Numbers are
    /// variables as well: an expression of constants alone would be worked out by the compiler, which refuses what
    /// overflows.
    fn statements(&self, roots: &[u32]) -> (String, Vec<String>) {
        let mut needed = vec![false; self.nodes.len()];
        for root in roots {
            needed[*root as usize] = true;
        }
        for (id, node) in self.nodes.iter().enumerate().rev() {
            if needed[id] {
                match *node {
                    Node::Number(_) | Node::Time => {}
                    Node::Negate(x) | Node::Apply(_, x) => needed[x as usize] = true,
                    Node::Combine(_, x, y) => {
                        needed[x as usize] = true;
                        needed[y as usize] = true;
                    }
                }
            }
        }
        let mut body = String::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
            let value = match *node {
                Node::Number(bits) => literal(f64::from_bits(bits)),
                Node::Time => "t".to_owned(),
                Node::Negate(x) => format!("-v{x}"),
                Node::Apply(function, x) => {
                    let name = FUNCTIONS.iter().find(|entry| entry.1 == function).map_or("", |entry| entry.2);
                    format!("{name}(v{x})")
                }
                Node::Combine(Operator::Add, x, y) => format!("v{x} + v{y}"),
                Node::Combine(Operator::Subtract, x, y) => format!("v{x} - v{y}"),
                Node::Combine(Operator::Multiply, x, y) => format!("v{x} * v{y}"),
                Node::Combine(Operator::Divide, x, y) => format!("v{x} / v{y}"),
                Node::Combine(Operator::Power, x, y) => match self.number_at(y) {
                    Some(exponent) if exponent.fract() == 0.0 && exponent.abs() <= LARGEST_PRODUCT => {
                        products(&mut body, id, x, exponent)
                    }
                    Some(0.5) => format!("guarded_sqrt(v{x})"),
                    _ => format!("power(v{x}, v{y})"),
                },
            };
            let _ = writeln!(body, "    let v{id} = {value};");
        }
        (body, roots.iter().map(|root| format!("v{root}")).collect())
    }
}

/// v{x}^exponent as products of squares, in the binary digits of the exponent.
fn products(body: &mut String, id: usize, x: u32, exponent: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small integer")]
    let mut left = exponent.abs() as u32;
    if left == 0 {
        return "1e0f".to_owned();
    }
    let mut square = format!("v{x}");
    let mut product: Option<String> = None;
    let mut squares = 0;
    loop {
        if left & 1 == 1 {
            product = Some(product.map_or_else(|| square.clone(), |product| format!("{product} * {square}")));
        }
        left >>= 1;
        if left == 0 {
            break;
        }
        squares += 1;
        let _ = writeln!(body, "    let v{id}_{squares} = {square} * {square};");
        square = format!("v{id}_{squares}");
    }
    let product = product.unwrap_or(square);
    if exponent < 0.0 { format!("1e0f / ({product})") } else { product }
}

/// A number as WGSL accepts it: what float32 cannot hold becomes the nearest that it can, and what is too small for
/// its normal numbers zero.
fn literal(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    let value = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    if value.is_normal() { format!("{value:e}f") } else { "0e0f".to_owned() }
}

/// In the notation that [`Expression::parse`] reads, with constants by value and no more parentheses than needed.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUM: u8 = 1;
        const PRODUCT: u8 = 2;
        const SIGNED: u8 = 3;
        const POWER: u8 = 4;
        const VALUE: u8 = 5;
        // Each step with how tightly it binds.
        let mut texts: Vec<(String, u8)> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let at = |id: u32, least: u8| -> String {
                let (text, binds) = &texts[id as usize];
                if *binds < least { format!("({text})") } else { text.clone() }
            };
            let text = match *node {
                Node::Number(bits) => {
                    let number = f64::from_bits(bits);
                    (format!("{number:?}"), if number.is_sign_negative() { SIGNED } else { VALUE })
                }
                Node::Time => ("t".to_owned(), VALUE),
                Node::Negate(x) => (format!("-{}", at(x, SIGNED)), SIGNED),
                Node::Apply(function, x) => {
                    let name = FUNCTIONS.iter().find(|entry| entry.1 == function).map_or("", |entry| entry.0);
                    (format!("{name}({})", at(x, SUM)), VALUE)
                }
                Node::Combine(operator, x, y) => match operator {
                    Operator::Add => (format!("{} + {}", at(x, SUM), at(y, PRODUCT)), SUM),
                    Operator::Subtract => (format!("{} - {}", at(x, SUM), at(y, PRODUCT)), SUM),
                    Operator::Multiply => (format!("{}*{}", at(x, PRODUCT), at(y, SIGNED)), PRODUCT),
                    Operator::Divide => (format!("{}/{}", at(x, PRODUCT), at(y, SIGNED)), PRODUCT),
                    Operator::Power => (format!("{}^{}", at(x, VALUE), at(y, SIGNED)), POWER),
                },
            };
            texts.push(text);
        }
        f.write_str(texts.last().map_or("", |(text, _)| text))
    }
}
