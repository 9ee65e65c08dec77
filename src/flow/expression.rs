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
/// Integer exponents up to here are products of squares.
const LARGEST_PRODUCT: f64 = 65_536.0;

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

    /// The value at `t` in float32, by the operations that [`Expression::to_wgsl`] writes.
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    pub(super) fn evaluate_f32(&self, t: f32) -> f32 {
        let exp = |x: f32| x.clamp(-87.0, 88.0).exp();
        let log = |x: f32| x.max(f32::MIN_POSITIVE).ln();
        let mut values: Vec<f32> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let at = |id: u32| values[id as usize];
            values.push(match *node {
                Node::Number(bits) => float(f64::from_bits(bits)),
                Node::Time => t,
                Node::Negate(x) => -at(x),
                Node::Apply(function, x) => match function {
                    Function::Sqrt => at(x).max(0.0).sqrt(),
                    Function::Exp => exp(at(x)),
                    Function::Log => log(at(x)),
                    Function::Sin => at(x).sin(),
                    Function::Cos => at(x).cos(),
                    Function::Tan => at(x).tan(),
                    Function::Tanh => at(x).tanh(),
                },
                Node::Combine(operator, x, y) => match (operator, at(x), at(y)) {
                    (Operator::Add, x, y) => x + y,
                    (Operator::Subtract, x, y) => x - y,
                    (Operator::Multiply, x, y) => x * y,
                    (Operator::Divide, x, y) => x / y,
                    (Operator::Power, x, y) if y.fract() == 0.0 => x.powi(y as i32),
                    (Operator::Power, x, y) if x > 0.0 || y < 0.0 => exp(y * log(x)),
                    (Operator::Power, ..) => 0.0,
                },
            });
        }
        values.last().copied().unwrap_or(f32::NAN)
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
            Node::Combine(operator @ (Operator::Multiply | Operator::Divide), a, b) => {
                match (self.number_at(a), self.number_at(b)) {
                    (Some(number), _) => {
                        let a = self.number(-number);
                        self.combine(operator, a, b)
                    }
                    (None, Some(number)) => {
                        let b = self.number(-number);
                        self.combine(operator, a, b)
                    }
                    (None, None) => self.intern(Node::Negate(x)),
                }
            }
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
                    // Even and odd powers of what may be negative.
                    Some(exponent) if exponent % 2.0 == 0.0 => format!("power(abs(v{x}), v{y})"),
                    Some(exponent) if exponent.fract() == 0.0 => {
                        format!("sign(v{x}) * power(abs(v{x}), v{y})")
                    }
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

/// What float32 cannot hold becomes the nearest that it can, and what is too small for its normal numbers zero.
fn float(value: f64) -> f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    let value = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    if value.is_normal() { value } else { 0.0 }
}

/// A number as WGSL accepts it.
fn literal(value: f64) -> String {
    format!("{:e}f", float(value))
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

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "values are compared on purpose")]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::shaders::{TARGETS, Target};

    fn parse(text: &str) -> Result<Expression> {
        let constants = BTreeMap::from([("k".to_owned(), 3.0), ("beta_1".to_owned(), -0.5)]);
        Expression::parse(text, &constants)
    }

    #[test]
    fn precedence_is_the_ordinary_one() {
        for (text, value) in [
            ("1 + 2*3", 7.0),
            ("(1 + 2)*3", 9.0),
            ("7 - 4 - 2", 1.0),
            ("8/4/2", 1.0),
            ("2^3^2", 512.0),
            ("-2^2", -4.0),
            ("(-2)^2", 4.0),
            ("2^-1", 0.5),
            ("2^-t", 2f64.powf(-0.5)),
            ("-t^2", -0.25),
            ("--t", 0.5),
            ("2*-t", -1.0),
            ("6/2*3", 9.0),
            ("1 - -1", 2.0),
            (" \t1\n+ t ", 1.5),
            ("1e2 + 1.5e-1 + .5 + 2.", 102.65),
            ("2*e^1", 2.0 * std::f64::consts::E),
            ("sin(pi*t)", 1.0),
            ("k*t + beta_1", 1.0),
            ("sqrt(t)^2", 0.5f64.sqrt() * 0.5f64.sqrt()),
            ("log(e^t)", 0.5),
            (
                "tanh(t) - tan(t) + cos(t) + exp(t)",
                0.5f64.tanh() - 0.5f64.tan() + 0.5f64.cos() + 0.5f64.exp(),
            ),
            ("0^0 + 0^t", 1.0),
        ] {
            let got = parse(text).unwrap_or_else(|error| panic!("{error}")).evaluate(0.5);
            assert!((got - value).abs() < 1e-14 * (1.0 + value.abs()), "{text}: {got}, expected {value}");
        }
    }

    #[test]
    fn errors_point_at_the_character() {
        let long = format!("t{}", " ".repeat(1000));
        let large = (0..200).map(|i| i.to_string()).collect::<Vec<_>>().join("+");
        for (text, column, words) in [
            ("", 1, "ends too early"),
            ("1 +", 4, "ends too early"),
            ("1 + * 2", 5, "`*`"),
            ("2t", 2, "`t`"),
            ("2 t", 3, "+ - * / ^"),
            ("(1 + t", 7, "the `(` of column 1 is not closed"),
            ("(1 + t]", 7, "`]`"),
            ("1 + t)", 6, "closes nothing"),
            ("sin t", 5, "expected `(`"),
            ("sin", 4, "expected `(`"),
            ("2*sinus(t)", 3, "no function is called `sinus`"),
            ("abs(t)", 1, "`abs` has no derivative everywhere"),
            ("1 - q*t", 5, "t, pi, e, beta_1, k and the functions sqrt"),
            ("t**2", 2, "written with ^"),
            ("1e999", 1, "too large"),
            ("1..2", 3, "`.` is unexpected"),
            (".", 1, "no number"),
            ("π·t", 1, "`π`"),
            ("t + \u{7}", 5, "\\u{7}"),
            ("t\n\n,", 4, "`t\\n\\n,`"),
            ("t;}", 2, "`;`"),
            (&"(".repeat(900), 66, "nests too deeply"),
            (&"-".repeat(900), 66, "nests too deeply"),
            (&"t^".repeat(400), 131, "nests too deeply"),
            (&"exp(".repeat(200), 261, "nests too deeply"),
            (&large, 402, "too large"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            let place = format!("column {column}:");
            assert!(error.contains(&place) && error.contains(words), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(parse(&long).unwrap_err().to_string().contains("1001 characters"));
        for (name, value, word) in [
            ("t", 1.0, "meaning of its own"),
            ("exp", 1.0, "meaning of its own"),
            ("2x", 1.0, "cannot name"),
            ("", 1.0, "cannot name"),
            ("a b", 1.0, "cannot name"),
            ("x", f64::NAN, "NaN"),
            ("x", f64::INFINITY, "inf"),
        ] {
            let error = Expression::parse("t", &BTreeMap::from([(name.to_owned(), value)])).unwrap_err();
            assert!(error.to_string().contains(word), "{name}: {error}");
        }
    }

    #[test]
    fn derivatives_are_simplified() {
        for (text, derivative) in [
            ("3", "0.0"),
            ("t", "1.0"),
            ("1 - t", "-1.0"),
            ("t^2", "2.0*t"),
            ("t^3/3", "3.0*t^2.0/3.0"),
            ("-t", "-1.0"),
            ("sin(k*t)", "cos(3.0*t)*3.0"),
            ("exp(-t)", "-exp(-t)"),
            ("sqrt(1 - t)", "-1.0/(2.0*sqrt(1.0 - t))"),
            ("k^2 + pi", "0.0"),
            ("e^t", "2.718281828459045^t"),
        ] {
            assert_eq!(parse(text).unwrap().derivative().to_string(), derivative, "{text}");
        }
    }

    /// Constants cannot make WGSL that a compiler refuses, nor can what is read twice make it long.
    #[test]
    fn wgsl_is_small_and_has_numbers_that_it_accepts() {
        let wgsl = parse("1e300*t + 1e-300 - 1e-40 + 0.1").unwrap().to_wgsl("f");
        assert!(
            wgsl.contains("= 3.4028235e38f;") && wgsl.contains("= 0e0f;") && wgsl.contains("1e-1f"),
            "{wgsl}"
        );
        assert_eq!(parse("sin(t^2) + sin(t^2)*sin(t^2)").unwrap().to_wgsl("f").matches("sine(").count(), 1);
        assert_eq!(parse("t^100").unwrap().to_wgsl("f").matches('*').count(), 8);
        // However long, names of its own and helpers alone.
        let wgsl = parse("tanh(beta_1*t)^k").unwrap().to_wgsl("f");
        assert!(!wgsl.contains("beta") && !wgsl.contains('k'), "{wgsl}");
    }

    /// Trees as the parser could have made them.
    #[derive(Clone, Debug)]
    enum Tree {
        Number(f64),
        Time,
        Negate(Box<Tree>),
        Apply(Function, Box<Tree>),
        Combine(Operator, Box<Tree>, Box<Tree>),
    }

    impl Tree {
        fn build(&self, graph: &mut Graph) -> u32 {
            let node = match self {
                Self::Number(number) => Node::Number(number.to_bits()),
                Self::Time => Node::Time,
                Self::Negate(x) => {
                    let x = x.build(graph);
                    graph.number_at(x).map_or(Node::Negate(x), |number| Node::Number((-number).to_bits()))
                }
                Self::Apply(function, x) => Node::Apply(*function, x.build(graph)),
                Self::Combine(operator, x, y) => {
                    let x = x.build(graph);
                    Node::Combine(*operator, x, y.build(graph))
                }
            };
            graph.intern(node)
        }

        fn expression(&self) -> Expression {
            let mut graph = Graph::default();
            let root = self.build(&mut graph);
            graph.extract(root)
        }
    }

    fn tree(numbers: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = Tree> {
        use Operator::{Add, Divide, Multiply, Power, Subtract};
        let leaf = prop_oneof![numbers.prop_map(Tree::Number), Just(Tree::Time), Just(Tree::Time)];
        leaf.prop_recursive(6, 60, 2, |inner| {
            let functions = (0..FUNCTIONS.len()).prop_map(|i| FUNCTIONS[i].1);
            let operators = prop::sample::select(vec![Add, Subtract, Multiply, Divide, Power]);
            prop_oneof![
                1 => inner.clone().prop_map(|x| Tree::Negate(Box::new(x))),
                2 => (functions, inner.clone()).prop_map(|(function, x)| Tree::Apply(function, Box::new(x))),
                4 => (operators, inner.clone(), inner)
                    .prop_map(|(operator, x, y)| Tree::Combine(operator, Box::new(x), Box::new(y))),
            ]
        })
    }

    fn any_number() -> impl Strategy<Value = f64> {
        use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
        prop_oneof![-3.0..3.0, (-4i8..6).prop_map(f64::from), NORMAL | SUBNORMAL | ZERO]
    }

    fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        )
        .run(strategy, check)
        .unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn what_is_printed_is_read_back() {
        run(2000, &tree(any_number()), |tree| {
            let expression = tree.expression();
            let text = expression.to_string();
            if text.chars().count() > LONGEST {
                return Ok(());
            }
            let again = Expression::parse(&text, &BTreeMap::new())
                .map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(&again, &expression, "{}", text);
            // Spaces mean nothing.
            let spaced: String = text
                .chars()
                .flat_map(|c| match c {
                    '(' | ')' | '*' | '/' | '^' => vec![' ', c, '\t'],
                    c => vec![c],
                })
                .collect();
            if spaced.chars().count() <= LONGEST {
                prop_assert_eq!(parse(&spaced).unwrap(), expression);
            }
            Ok(())
        });
    }

    #[test]
    fn symbolic_derivatives_are_those_of_dual_numbers() {
        let compared = Cell::new(0);
        let numbers = prop_oneof![-3.0..3.0, (-4i8..6).prop_map(f64::from)];
        run(3000, &tree(numbers), |tree| {
            let expression = tree.expression();
            let derivative = expression.derivative();
            for t in [0.03, 0.25, 0.6, 0.99] {
                let (value, slope) = expression.evaluate_dual(t);
                let plain = expression.evaluate(t);
                prop_assert!(value == plain || value.is_nan() && plain.is_nan());
                // Where no step is so large or so small that rounding matters.
                let tame = |expression: &Expression| {
                    (1..=expression.nodes.len()).all(|end| {
                        let value = Expression { nodes: expression.nodes[..end].to_vec() }.evaluate(t).abs();
                        value == 0.0 || (1e-4..1e4).contains(&value)
                    })
                };
                if slope.is_finite() && tame(&expression) && tame(&derivative) {
                    compared.set(compared.get() + 1);
                    let symbolic = derivative.evaluate(t);
                    let allowed = 1e-8 * (1.0 + slope.abs());
                    prop_assert!(
                        (symbolic - slope).abs() <= allowed,
                        "{} at {}: {} = {}, not {}",
                        expression,
                        t,
                        derivative,
                        symbolic,
                        slope
                    );
                }
            }
            Ok(())
        });
        assert!(compared.get() > 2000, "only {} were compared", compared.get());
    }

    #[test]
    fn wgsl_of_random_trees_is_valid() {
        let spirv = Target::named("spirv").unwrap();
        run(300, &(tree(any_number()), tree(any_number())), |(mean, std)| {
            let source = schedule_wgsl(&mean.expression(), &std.expression());
            let both = format!("{source}{}", mean.expression().to_wgsl("mean"));
            let variant = crate::gpu::Variant::new("path").text("PATH", "custom", both);
            for target in TARGETS.iter().filter(|target| ["wgsl", spirv.name].contains(&target.name)) {
                if let Err(error) = target.translate(&variant) {
                    return Err(TestCaseError::fail(format!("{error}\n{source}")));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn no_text_makes_it_panic() {
        let token = prop::sample::select(vec![
            "t",
            "pi",
            "e",
            "k",
            "1",
            "2.5",
            "1e-3",
            "1e",
            ".",
            "+",
            "-",
            "*",
            "/",
            "^",
            "(",
            ")",
            "sin",
            "exp(",
            "sqrt(",
            "log(",
            " ",
            "√",
            ",",
            "=",
            "\\",
            "\"",
            "//#include",
            "\n",
            "0",
            "}",
            ";",
            "π",
            "\u{202e}",
        ]);
        let few = prop::collection::vec(token.clone(), 0..6);
        let tokens = prop_oneof![few, prop::collection::vec(token, 0..40)].prop_map(|tokens| tokens.concat());
        let parsed = Cell::new(0);
        run(5000, &prop_oneof![tokens, ".{0,80}"], |text| {
            match parse(&text) {
                Ok(expression) => {
                    parsed.set(parsed.get() + 1);
                    let derivative = expression.derivative();
                    let _ = (derivative.evaluate(0.0), derivative.derivative().to_string());
                    let wgsl = derivative.to_wgsl("f");
                    let allowed = |c: char| c.is_ascii_alphanumeric() || " \n_():->{}=*/+,.;".contains(c);
                    prop_assert!(wgsl.chars().all(allowed), "{}", wgsl);
                    let _ = crate::flow::Path::custom(&text, &text, &BTreeMap::new());
                }
                Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error),
            }
            Ok(())
        });
        assert!(parsed.get() > 50, "only {} were expressions", parsed.get());
    }

    /// Derivatives of derivatives neither overflow the stack nor take long.
    #[test]
    fn higher_derivatives_are_worked_out() {
        let mut expression = parse("exp(sin(t)*t)/(1 + t^2)").unwrap();
        for _ in 0..4 {
            expression = expression.derivative();
        }
        assert!(expression.evaluate(0.3).is_finite());
        let mut sine = parse("sin(t)").unwrap();
        for _ in 0..40 {
            sine = sine.derivative();
        }
        assert_eq!(sine.to_string(), "sin(t)");
        let deep = format!("{}t{}", "exp(sin(".repeat(30), "))".repeat(30));
        assert!(parse(&deep).unwrap().derivative().evaluate(0.1).is_finite());
    }
}
