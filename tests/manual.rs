//! Keeps docs/settings.md in step with the documentation of `src/config/settings.rs` and what lies in its folder, which it is
//! made of. `make manual` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

/// Types that have no key of their own.
const WITHOUT_KEY: [&str; 2] = ["Settings", "WrittenAt"];
/// The files beside settings.rs, in the order of the keys of a connector.
const PARTS: [&str; 6] = ["http", "kafka", "formats", "columns", "lake", "errors"];
const LINKS: [(&str, &str); 1] =
    [("chrono::format::strftime", "https://docs.rs/chrono/latest/chrono/format/strftime/index.html")];

/// A struct or enum, with what is documented inside.
struct Item {
    name: String,
    docs: Vec<String>,
    entries: Vec<Entry>,
}

/// A field or variant.
struct Entry {
    docs: Vec<String>,
    depth: usize,
}

#[test]
fn the_manual_says_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = documented(root).unwrap();
    let manual = root.join("docs/settings.md");
    let wanted = render(&source);
    if std::env::var_os("SLUICE_WRITE_MANUAL").is_some() {
        std::fs::write(&manual, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&manual).unwrap_or_default();
    assert!(found == wanted, "docs/settings.md is not what src/config/settings.rs says: run `make manual`");
}

#[test]
fn every_key_of_the_code_is_in_the_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = render(&documented(root).unwrap());
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(root.join("src/config")).unwrap() {
        let path = entry.unwrap().path();
        let is_form = path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs");
        if let Some(source) = is_form.then(|| std::fs::read_to_string(&path).unwrap()) {
            let constants = source.split("KEYS: &[&str] =").skip(1);
            let listed = constants.filter_map(|rest| rest.split(';').next());
            keys.extend(listed.flat_map(|list| list.split('"').skip(1).step_by(2)).map(str::to_owned));
        }
    }
    assert!(keys.len() > 30, "the lists of keys are found: {keys:?}");
    keys.retain(|key| {
        let named = ["`", " ", "."].iter().any(|before| {
            ["`", ":", " ", "."].iter().any(|after| manual.contains(&format!("{before}{key}{after}")))
        });
        !named
    });
    assert!(keys.is_empty(), "not in the documentation of src/config/settings.rs: {keys:?}");
}

#[test]
fn documentation_becomes_sections_and_lists() {
    let source = "//! Owns this.\n//!\n//! # The file\n//!\n//! See [`A`] and [`chrono::format::strftime`].\n\nuse x;\n\n\
                  /// `a`: things.\n///\n/// More.\n#[derive(Debug)]\npub struct A {\n    /// `a.b`: one\n    /// thing.\n    \
                  pub b: u8,\n    /// Where; no key of its own.\n    pub c: u8,\n}\n\nimpl A {\n    /// Hidden.\n    pub fn x() {}\n}\n\n\
                  /// `a.e`.\npub enum E {\n    /// `f`: a form.\n    F {\n        /// `g`: inside.\n        g: u8,\n    },\n}\n";
    let body = render(source);
    let expected = "## The file\n\nSee [`a`](#a) and [`chrono::format::strftime`](https://docs.rs/chrono/latest/chrono/format/strftime/index.html).\n\n\
                    ## `a`\n\nThings.\n\nMore.\n\n- `a.b`: one\n  thing.\n\n## `a.e`\n\n- `f`: a form.\n  - `g`: inside.\n";
    assert!(body.ends_with(expected), "{body}");
}

/// The settings with what they are made of, as one text.
fn documented(root: &Path) -> std::io::Result<String> {
    let mut text = std::fs::read_to_string(root.join("src/config/settings.rs"))?;
    let folder = root.join("src/config/settings");
    let found = std::fs::read_dir(&folder)?.count();
    assert_eq!(found, PARTS.len(), "the files of src/config/settings, in the order of the manual: {PARTS:?}");
    for part in PARTS {
        let path = folder.join(part).with_extension("rs");
        let source = std::fs::read_to_string(path)?;
        text.extend(source.lines().filter(|line| !line.starts_with("//!")).flat_map(|line| [line, "\n"]));
    }
    Ok(text)
}

fn render(source: &str) -> String {
    let (introduction, items) = parse(source);
    let mut text = String::from(
        "# Settings\n\nEvery key of `connectors.yaml`. Made by `make manual` of the documentation in\n\
         [`src/config/settings.rs`](../src/config/settings.rs): change it there.\n",
    );
    let names: Vec<(String, String)> =
        items.iter().map(|item| (item.name.clone(), heading_of(item).0)).collect();
    let mut in_code = false;
    for line in introduction {
        in_code ^= line.starts_with("```");
        let deeper = if line.starts_with('#') && !in_code { "#" } else { "" };
        let _ = writeln!(text, "{deeper}{}", linked(&line, &names));
    }
    for item in items.iter().filter(|item| !WITHOUT_KEY.contains(&item.name.as_str())) {
        let (heading, rest) = heading_of(item);
        let _ = writeln!(text, "\n## {heading}\n");
        let mut body: Vec<String> = rest.into_iter().chain(item.docs.iter().skip(1).cloned()).collect();
        while body.first().is_some_and(String::is_empty) {
            body.remove(0);
        }
        for line in &body {
            let _ = writeln!(text, "{}", linked(line, &names));
        }
        let entries = item.entries.iter().filter(|entry| !entry.docs.join(" ").contains("no key of its own"));
        for (number, entry) in entries.enumerate() {
            if number == 0 && !body.is_empty() {
                text.push('\n');
            }
            let indent = "  ".repeat(entry.depth);
            for (line, words) in entry.docs.iter().enumerate() {
                let mark = if line == 0 { "- " } else { "  " };
                let whole = format!("{indent}{mark}{}", linked(words, &names));
                let _ = writeln!(text, "{}", whole.trim_end());
            }
        }
    }
    text
}

/// The heading, and what the first line says beside it: "`rotate`: when a flush ends" is about `rotate`.
fn heading_of(item: &Item) -> (String, Option<String>) {
    let first = item.docs.first().map_or("", String::as_str);
    match first.split_once(": ") {
        Some((heading, rest)) if heading.contains('`') => {
            let mut letters = rest.chars();
            let capital =
                letters.next().map(|letter| letter.to_uppercase().collect::<String>() + letters.as_str());
            (heading.to_owned(), capital)
        }
        _ if first.contains('`') => {
            let (heading, rest) = first.split_once(". ").unwrap_or((first.trim_end_matches('.'), ""));
            (heading.to_owned(), (!rest.is_empty()).then(|| rest.to_owned()))
        }
        _ => (first.trim_end_matches('.').trim_end_matches(':').to_owned(), None),
    }
}

/// Rustdoc's links become links within the manual, or none.
fn linked(line: &str, names: &[(String, String)]) -> String {
    let mut text = line.to_owned();
    for (name, heading) in names {
        text = text.replace(&format!("[`{name}`]"), &format!("[{heading}](#{})", anchor(heading)));
    }
    for (name, url) in LINKS {
        text = text.replace(&format!("[`{name}`]"), &format!("[`{name}`]({url})"));
    }
    text
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
}

/// The module's documentation without its first paragraph, and the documented public types.
fn parse(source: &str) -> (Vec<String>, Vec<Item>) {
    let module: Vec<String> =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(without_space).collect();
    let introduction =
        module.iter().position(String::is_empty).map_or(Vec::new(), |at| module[at..].to_vec());
    let mut items: Vec<Item> = Vec::new();
    let mut docs: Vec<String> = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        let code = line.trim_start();
        let depth = (line.len() - code.len()) / 4;
        if let Some(words) = code.strip_prefix("///") {
            docs.push(without_space(words));
        } else if code.starts_with("#[") {
            // Between documentation and item.
        } else if depth == 0 {
            let words: Vec<&str> = code.split([' ', '<', '{']).collect();
            inside = matches!(words[..], ["pub", "struct" | "enum", ..]);
            if inside {
                items.push(Item {
                    name: words[2].to_owned(),
                    docs: std::mem::take(&mut docs),
                    entries: Vec::new(),
                });
            }
            docs.clear();
        } else if let Some(item) = items.last_mut().filter(|_| inside && !docs.is_empty()) {
            item.entries.push(Entry { docs: std::mem::take(&mut docs), depth: depth - 1 });
        } else {
            docs.clear();
        }
    }
    (introduction, items)
}

fn without_space(words: &str) -> String {
    words.strip_prefix(' ').unwrap_or(words).to_owned()
}
