//! The guide under docs/: its commands run and print what it quotes, the names in it are those of files and items, and
//! its pictures are drawn by its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A file of docs/ may be no larger.
const LARGEST_PICTURE: usize = 200_000;

/// A page: its name and its text.
struct Page {
    name: String,
    text: String,
}

/// A block of commands, and what the guide says that it prints.
struct Block {
    /// Page and line.
    place: String,
    commands: String,
    quoted: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All pages in the order of their names, which is that of the chapters.
fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| Page {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    // 10 comes after 9, and what has no number after them.
    let number =
        |page: &Page| page.name.split('-').next().and_then(|head| head.parse().ok()).unwrap_or(u32::MAX);
    pages.sort_by(|a, b| (number(a), &a.name).cmp(&(number(b), &b.name)));
    assert!(pages.len() > 7, "the pages are in docs/");
    pages
}

/// The blocks of commands, each with the block `console` that follows it.
fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    for page in pages() {
        let mut lines = page.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(language) = line.strip_prefix("```") else { continue };
            let place = format!("docs/{}:{}", page.name, number + 1);
            let block: Vec<String> = lines
                .by_ref()
                .map(|(_, line)| line.to_owned())
                .take_while(|line| !line.starts_with("```"))
                .collect();
            match language {
                "sh" => blocks.push(Block { place, commands: block.join("\n"), quoted: vec![] }),
                "console" => {
                    let last = blocks.last_mut().unwrap_or_else(|| panic!("{place}: no commands before it"));
                    assert!(!block.is_empty() && last.quoted.is_empty(), "{place}: quotes nothing, or twice");
                    last.quoted = block;
                }
                // `make interop` runs them, with the packages that they need.
                "python" => {}
                // `make gallery` runs them.
                "bash" if page.name == "gallery.md" => {}
                // What has no language, rustdoc takes for Rust.
                _ => assert!(["text", "rust"].contains(&language), "{place}: a block of `{language}`"),
            }
        }
    }
    blocks
}

/// Runs all commands in an empty folder, and returns what each block printed.
fn outputs() -> &'static BTreeMap<String, String> {
    static OUTPUTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    OUTPUTS.get_or_init(|| {
        const MARK: &str = "@@@@ ";
        let folder = folder();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let blocks = blocks();
        let mut script = vec!["exec 2>&1".to_owned()];
        for Block { place, commands, .. } in &blocks {
            script.extend([format!("echo '{MARK}{place}'"), commands.clone()]);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_windfield")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let printed = Command::new("sh")
            .args(["-eu", "-c", &script.join("\n")])
            .current_dir(&folder)
            .env("PATH", path)
            .env("WINDFIELD_CACHE", "off")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(printed.stdout).unwrap();
        let outputs: BTreeMap<String, String> = text
            .split(MARK)
            .filter_map(|part| part.split_once('\n'))
            .map(|(place, output)| (place.to_owned(), output.to_owned()))
            .collect();
        let end: Vec<&str> = text.lines().rev().take(5).collect();
        assert!(printed.status.success(), "block {} of the commands failed: {end:#?}", outputs.len());
        outputs
    })
}

/// Where the commands run.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs")
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// A word, or a sign.
    Word(String),
    /// A number with the unit of its last digit; `residual`: written with a power of ten.
    Number { value: f64, unit: f64, residual: bool },
    /// …: whatever there is.
    Anything,
}

fn pieces(line: &str) -> Vec<Piece> {
    let characters: Vec<char> = line.chars().collect();
    let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let mut pieces = vec![];
    let mut at = 0;
    while at < characters.len() {
        let begin = at;
        let c = characters[at];
        at += 1;
        if c.is_whitespace() {
        } else if c == '…' {
            pieces.push(Piece::Anything);
        } else if c.is_ascii_digit() || (c == '-' && digit(at)) {
            while digit(at) {
                at += 1;
            }
            if characters.get(at) == Some(&'.') && digit(at + 1) {
                at += 1;
                while digit(at) {
                    at += 1;
                }
            }
            let mantissa: String = characters[begin..at].iter().collect();
            let sign = usize::from(matches!(characters.get(at + 1), Some('-' | '+')));
            let residual = characters.get(at) == Some(&'e') && digit(at + 1 + sign);
            if residual {
                at += 1 + sign;
                while digit(at) {
                    at += 1;
                }
            }
            let number: String = characters[begin..at].iter().collect();
            let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            let unit = 10f64.powi(-i32::try_from(decimals).unwrap());
            pieces.push(Piece::Number { value: number.parse().unwrap(), unit, residual });
        } else if c.is_alphanumeric() {
            while characters.get(at).is_some_and(|c| c.is_alphanumeric()) {
                at += 1;
            }
            pieces.push(Piece::Word(characters[begin..at].iter().collect()));
        } else {
            pieces.push(Piece::Word(c.to_string()));
        }
    }
    pieces
}

/// Whether a line says what is quoted. Adapters round differently, and what a model learns differs with that: numbers
/// may be off by 15 % and one of their last digit; what is written as 1e-7 is a residual, and may be ten times that.
fn says(quoted: &[Piece], printed: &[Piece]) -> bool {
    match (quoted.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((Piece::Anything, rest)), _) => (0..=printed.len()).any(|skip| says(rest, &printed[skip..])),
        (Some((a, quoted)), Some((b, printed))) => same(a, b) && says(quoted, printed),
        _ => false,
    }
}

fn same(quoted: &Piece, printed: &Piece) -> bool {
    match (quoted, printed) {
        (Piece::Number { value, residual: true, .. }, Piece::Number { value: other, .. }) => {
            other.abs() <= (10.0 * value.abs()).max(1e-6)
        }
        (Piece::Number { value, unit, .. }, Piece::Number { value: other, .. }) => {
            (value - other).abs() <= 0.15 * value.abs() + unit * 1.001
        }
        _ => quoted == printed,
    }
}

#[test]
fn a_wrong_quotation_is_seen() {
    let says = |quoted: &str, printed: &str| says(&pieces(quoted), &pieces(printed));
    let line = "log p     -1.7908 ± 0.0281 nats: off by 3e-07";
    for quoted in [line, "log p -1.79 ± 0.03 nats: off by 1e-07", "log p … nats: off by -1e-6", "…"] {
        assert!(says(quoted, line), "{quoted}");
    }
    for quoted in [
        "",
        "log p",
        "log p 1.7908 ± 0.0281 nats: off by 3e-07",
        "log p -1.3 ± 0.0281 nats: off by 3e-07",
        "log p -1.7908 ± 0.0281 bits: off by 3e-07",
        "log p -1.7908 ± 0.0281 nats: off by 1e-08 more",
        "log p … bits …",
    ] {
        assert!(!says(quoted, line), "{quoted}");
    }
    // Versions are read as well: 22.3 and .6.
    assert!(says("Mesa 22.3.6 …", "Mesa 22.3.6 (LLVM 15.0.6)"));
    assert!(
        !says("off by 1e-7", "off by 2e-6") && !says("rk4 10", "rk5 10") && says("x (10, -2)", "x (11, -2)")
    );
}

/// `cargo test --test docs -- --nocapture` shows all that is printed.
#[test]
fn commands_print_what_is_quoted() {
    let outputs = outputs();
    let mut wrong = vec![];
    for block in blocks() {
        let printed = &outputs[&block.place];
        println!("== {}\n{printed}", block.place);
        let mut lines = printed.lines();
        for quoted in &block.quoted {
            let wanted = pieces(quoted);
            if !lines.any(|line| says(&wanted, &pieces(line))) {
                wrong.push(format!("{}: `{quoted}` is not in\n{printed}", block.place));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The definitions `[label]: target` of a text.
fn definitions(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .map(|(label, target)| (label.to_owned(), target.to_owned()))
        .collect()
}

/// Whether a file defines an item.
fn defines(source: &str, item: &str) -> bool {
    ["fn", "struct", "enum", "static", "const", "trait"].iter().any(|keyword| {
        source.match_indices(&format!("{keyword} {item}")).any(|(at, found)| {
            let next = source[at + found.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

#[test]
fn names_lead_to_files_that_define_them() {
    let docs = root().join("docs");
    let items = definitions(&fs::read_to_string(root().join("src/guide.links.md")).unwrap());
    let mut wrong = vec![];
    let mut all = BTreeSet::new();
    for Page { name, text } in pages() {
        let definitions = definitions(&text);
        for (label, target) in &definitions {
            all.insert(label.clone());
            let Ok(bytes) = fs::read(docs.join(target)) else {
                wrong.push(format!("{name}: there is no {target}"));
                continue;
            };
            if !items.contains_key(label) {
                wrong.push(format!("{name}: {label} is not in src/guide.links.md"));
            }
            if !text.contains(&format!("[{label}]")) {
                wrong.push(format!("{name}: {label} is not used"));
            }
            let source = String::from_utf8_lossy(&bytes);
            let last = label.trim_matches('`').rsplit("::").next().unwrap_or_default();
            let has = |path: &str, wanted: &str| {
                Path::new(path).extension().is_some_and(|extension| extension == wanted)
            };
            let file = has(target, "md") || has(target, "png") || has(last, "wgsl");
            if file && !target.ends_with(label.trim_matches('`')) && !target.ends_with(label) {
                wrong.push(format!("{name}: {label} leads to {target}"));
            }
            if !file && !defines(&source, last) {
                wrong.push(format!("{name}: {target} does not define {last}"));
            }
        }
        // [`name`] and [words][name], where they are used
        for (at, _) in text.match_indices('[') {
            let rest = &text[at + 1..];
            let Some((label, after)) = rest.split_once(']') else { continue };
            let is_reference = label.starts_with('`') || text[..at].ends_with(']');
            if is_reference && !after.starts_with('[') && !definitions.contains_key(label) {
                wrong.push(format!("{name}: [{label}] leads nowhere"));
            }
        }
    }
    wrong.extend(
        items.keys().filter(|label| !all.contains(*label)).map(|label| format!("nothing names {label}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The pictures that the pages show: `pictures/RUN-NAME.png` is `runs/RUN/NAME.png`.
fn pictures() -> BTreeMap<PathBuf, PathBuf> {
    let mut pictures = BTreeMap::new();
    for page in pages() {
        for target in definitions(&page.text).into_values().filter(|target| target.starts_with("pictures/")) {
            let (run, name) =
                target["pictures/".len()..].rsplit_once('-').unwrap_or_else(|| panic!("{target}"));
            pictures.insert(root().join("docs").join(&target), Path::new("runs").join(run).join(name));
        }
    }
    assert!(!pictures.is_empty(), "the pages show pictures");
    pictures
}

#[test]
fn pictures_are_small_and_all_are_shown() {
    let shown = pictures();
    for entry in fs::read_dir(root().join("docs/pictures")).unwrap() {
        let path = entry.unwrap().path();
        assert!(shown.contains_key(&path), "no page shows {}", path.display());
    }
    for (picture, run) in &shown {
        let bytes = fs::read(picture).unwrap_or_else(|error| panic!("{}: {error}", picture.display()));
        assert!(bytes.len() <= LARGEST_PICTURE, "{} has {} bytes", picture.display(), bytes.len());
        let drawn = run.parent().is_some_and(|run| {
            blocks().iter().any(|block| block.commands.contains(&format!("--out {}", run.display())))
        });
        assert!(drawn, "no command draws {}", run.display());
    }
}

/// Each picture of the gallery is there, small, shown, and drawn by a command whose flags are known.
#[test]
fn the_gallery_shows_what_its_commands_draw() {
    let text = fs::read_to_string(root().join("docs/gallery.md")).unwrap();
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("windfield render ")).collect();
    let mut drawn: Vec<&str> = commands.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    let mut shown: Vec<&str> =
        text.split("](gallery/").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    let mut there: Vec<String> = fs::read_dir(root().join("docs/gallery"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    drawn.sort_unstable();
    shown.sort_unstable();
    there.sort_unstable();
    assert_eq!((&drawn, there.iter().map(String::as_str).collect()), (&shown, shown.clone()));
    let sizes = there.iter().map(|name| fs::metadata(root().join("docs/gallery").join(name)).unwrap().len());
    assert!(sizes.sum::<u64>() < 6 << 20, "a gallery of six megabytes at most");
    let folder = tempfile::tempdir().unwrap();
    for command in commands {
        let words = command.split_whitespace().skip(1);
        let output =
            Command::new(env!("CARGO_BIN_EXE_windfield")).args(words).current_dir(&folder).output().unwrap();
        // What is wrong is the model that is not there, not the flags.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("/model.safetensors"), "{command}: {said}");
    }
}

/// With `WINDFIELD_DRAW` in the environment, as `make pictures` has it, the guide's pictures become those of this run.
#[test]
fn pictures_are_drawn_by_the_commands() {
    outputs();
    let draw = std::env::var_os("WINDFIELD_DRAW").is_some();
    for (picture, run) in pictures() {
        let image = image::open(folder().join(&run)).unwrap().into_rgb8();
        if draw {
            fs::write(&picture, indexed(&image)).unwrap();
        }
        let shown = image::open(&picture).unwrap();
        assert_eq!((shown.width(), shown.height()), image.dimensions(), "{}", picture.display());
    }
}

/// A picture as a PNG of 256 colours, a third the size: boxes of colours are split at the middle of their pixels along
/// their longest side (Heckbert 1982), and each becomes its mean.
fn indexed(image: &image::RgbImage) -> Vec<u8> {
    let mut counts: BTreeMap<[u8; 3], u64> = BTreeMap::new();
    for pixel in image.pixels() {
        *counts.entry(pixel.0).or_default() += 1;
    }
    let spread = |colours: &[([u8; 3], u64)], channel: usize| {
        let values = || colours.iter().map(|(colour, _)| colour[channel]);
        values().max().unwrap_or_default() - values().min().unwrap_or_default()
    };
    let widest =
        |colours: &[([u8; 3], u64)]| (0..3).map(|c| (spread(colours, c), c)).max().unwrap_or_default();
    let mut boxes: Vec<Vec<([u8; 3], u64)>> = vec![counts.into_iter().collect()];
    while boxes.len() < 256 {
        // What is wide and what many pixels have is split first.
        let cost = |colours: &[([u8; 3], u64)]| {
            let pixels: u64 = colours.iter().map(|(_, count)| count).sum();
            u64::from(widest(colours).0).pow(2) * pixels.isqrt()
        };
        let Some((at, _)) = boxes.iter().enumerate().max_by_key(|(_, colours)| cost(colours)) else { break };
        let (width, channel) = widest(&boxes[at]);
        if width == 0 {
            break;
        }
        let mut colours = boxes.swap_remove(at);
        colours.sort_by_key(|(colour, _)| colour[channel]);
        let half: u64 = colours.iter().map(|(_, count)| count).sum::<u64>() / 2;
        let mut below = 0;
        let middle = colours.iter().position(|(_, count)| {
            below += count;
            below > half
        });
        let rest = colours.split_off(middle.unwrap_or_default().clamp(1, colours.len() - 1));
        boxes.extend([colours, rest]);
    }
    let mut palette = vec![];
    let mut index: BTreeMap<[u8; 3], u8> = BTreeMap::new();
    for (place, colours) in boxes.iter().enumerate() {
        let pixels: u64 = colours.iter().map(|(_, count)| count).sum();
        for channel in 0..3 {
            let sum: u64 = colours.iter().map(|(colour, count)| u64::from(colour[channel]) * count).sum();
            palette.push(u8::try_from((sum + pixels / 2) / pixels).unwrap());
        }
        index.extend(colours.iter().map(|(colour, _)| (*colour, u8::try_from(place).unwrap())));
    }
    let pixels: Vec<u8> = image.pixels().map(|pixel| index[&pixel.0]).collect();
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.set_deflate_compression(png::DeflateCompression::Level(9));
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}
