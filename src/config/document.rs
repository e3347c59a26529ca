//! Owns the files of a configuration and their top level: `version`, `daemon`, `defaults`, `connectors`. Does not own
//! the sections below.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::conflict::{self, Labelled, Name};
use super::problem::{ConfigErrors, Place, Problems, Source};
use super::reference::References;
use super::section::Section;
use super::settings::Settings;
use super::tree::{Content, Entry, Node};
use super::{connector, daemon, parse, value};

const KEYS: &[&str] = &["version", "daemon", "defaults", "connectors"];
const VERSION: u64 = 1;
/// What one file may hold, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the configuration at `path`: a file, or a directory whose `*.yaml` and `*.yml` files are read in the order of
/// their names and taken together.
///
/// Every file has its own `version`. Its `defaults` go under its own connectors; those of a file without connectors go under
/// the connectors of all files, below what these files say themselves. One file may have `daemon`. `environment` gives the
/// variables of references.
///
/// # Errors
///
/// Everything that is wrong, each with its place: what cannot be read, is no YAML, has unknown, missing, duplicate or
/// ill-typed keys, unresolved references, or settings that contradict each other.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, ConfigErrors> {
    let unreadable = |error: &dyn ToString| {
        ConfigErrors::unreadable(path, format!("cannot read the configuration: {}", error.to_string()))
    };
    let files = if fs::metadata(path).map_err(|error| unreadable(&error))?.is_dir() {
        let files = files_in(path).map_err(|error| unreadable(&error))?;
        if files.is_empty() {
            return Err(unreadable(&"the directory holds no `*.yaml` file"));
        }
        files
    } else {
        vec![path.to_path_buf()]
    };
    let (mut sources, mut texts) = (Vec::new(), Vec::new());
    for file in files {
        texts.push(read_file(&file));
        let directory = file.parent().map(Path::to_path_buf).unwrap_or_default();
        sources.push(Source { file, directory });
    }
    read(&texts, Problems::new(sources), environment)
}

/// Reads a configuration from a text, which messages call `connectors.yaml`. Relative paths inside start from the
/// working directory.
///
/// # Errors
///
/// As [`load`].
pub fn load_str(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, ConfigErrors> {
    let source = Source { file: PathBuf::from("connectors.yaml"), directory: PathBuf::new() };
    read(&[Ok(text.to_owned())], Problems::new(vec![source]), environment)
}

/// Visible `*.yaml` and `*.yml` files, also through links, by name.
fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A link that leads nowhere is an error and no reason to stop a connector.
        let is_other = fs::metadata(&path).is_ok_and(|about| !about.is_file());
        if is_yaml && !is_hidden && !is_other {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read the configuration: {error}");
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("the file is larger than 1 MiB, too much for a configuration".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())
}

fn read(
    texts: &[Result<String, String>],
    problems: Problems,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigErrors> {
    let mut roots: Vec<Node> = Vec::new();
    let mut references = References::new(environment, &problems);
    for (source, text) in texts.iter().enumerate() {
        match text {
            Ok(text) => roots.extend(parse::parse(text, source, &problems)),
            Err(message) => problems.report(Place { source, line: 1, column: 1 }, message.as_str()),
        }
    }
    if roots.len() < texts.len() {
        // What seems to be missing may stand in a file that could not be read.
        problems.forgive_missing();
    }
    for root in &mut roots {
        references.resolve(root);
    }
    let referenced = references.into_files();
    let settings = whole(&roots, referenced, &problems);
    let warnings = problems.warnings();
    match problems.into_errors() {
        Some(errors) => Err(errors),
        None => Ok(Settings { warnings, ..settings }),
    }
}

fn whole(roots: &[Node], referenced: Vec<PathBuf>, problems: &Problems) -> Settings {
    let tops: Vec<_> = roots.iter().map(|root| Section::open(root, root.place, "", KEYS, problems)).collect();
    tops.iter().for_each(require_version);
    report_duplicate_names(&tops, problems);
    let shared = shared_defaults(&tops, problems);
    let connectors: Vec<Labelled> =
        tops.iter().flat_map(|top| connectors(top, shared.as_ref(), problems)).collect();
    if !tops.iter().any(|top| top.has("connectors"))
        && let Some(top) = tops.last()
    {
        top.report_missing("connectors", ": a list of at least one connector");
    }
    conflict::report(&connectors, problems);
    Settings {
        daemon: daemon(&tops, problems),
        connectors: connectors.into_iter().map(|labelled| labelled.located(problems)).collect(),
        referenced,
        warnings: Vec::new(),
    }
}

/// Also the names of connectors that have something else wrong.
fn report_duplicate_names(tops: &[Section<'_>], problems: &Problems) {
    let items = tops.iter().filter_map(|top| top.node("connectors")).flat_map(|node| match &node.content {
        Content::List(items) => items.as_slice(),
        Content::Scalar(_) | Content::Map(_) => &[],
    });
    let names: Vec<_> = items
        .filter_map(|item| {
            let Content::Map(entries) = &item.content else { return None };
            let node = &entries.iter().find(|entry| entry.key == "name")?.value;
            node.scalar().filter(|_| !node.is_unresolved()).map(|scalar| Name { scalar, place: node.place })
        })
        .collect();
    conflict::report_duplicate_names(&names, problems);
}

fn require_version(top: &Section<'_>) {
    top.report_missing("version", "; begin with `version: 1`");
    top.read("version", |scalar| match value::whole(scalar)? {
        VERSION => Ok(()),
        _ => Err(format!("must be 1, the only one that this release reads; found {}", scalar.shown())),
    });
}

fn daemon(tops: &[Section<'_>], problems: &Problems) -> super::settings::DaemonSettings {
    let written: Vec<_> = tops.iter().filter(|top| top.has("daemon")).collect();
    for later in written.iter().skip(1) {
        let first = problems.refer_to(written[0].place_of("daemon"), later.place_of("daemon"));
        later.report("daemon", &format!("may be in one file only; first at {first}"));
    }
    let nothing = Node { place: Place { source: 0, line: 1, column: 1 }, content: Content::Map(Vec::new()) };
    let section = match written.first().copied().or(tops.first()) {
        Some(top) => top.section("daemon", daemon::KEYS),
        None => Section::open(&nothing, nothing.place, "daemon", daemon::KEYS, problems),
    };
    daemon::read(&section)
}

/// The defaults of the file that has no connectors of its own.
fn shared_defaults(tops: &[Section<'_>], problems: &Problems) -> Option<Node> {
    let mut written = tops.iter().filter(|top| top.has("defaults") && !top.has("connectors"));
    let first = written.next()?;
    for later in written {
        let at = problems.refer_to(first.place_of("defaults"), later.place_of("defaults"));
        let message = format!(
            "for all files may be in one file only; first at {at}. Those for connectors of one file belong into that file"
        );
        later.report("defaults", &message);
    }
    Some(defaults(first))
}

/// The connectors of one file, with its defaults under each, and those of all files below.
fn connectors(top: &Section<'_>, shared: Option<&Node>, problems: &Problems) -> Vec<Labelled> {
    if !top.has("connectors") {
        return Vec::new();
    }
    let own = defaults(top);
    let defaults = shared.map_or_else(|| own.clone(), |shared| Node::merged(shared, &own));
    let mut connectors = Vec::new();
    let items = top.list("connectors");
    if items.is_some_and(<[Node]>::is_empty) {
        top.report("connectors", "must hold at least one connector");
    }
    for node in items.unwrap_or_default() {
        if node.is_unresolved() {
            continue;
        }
        let merged = match &node.content {
            Content::Map(_) => Node::merged(&defaults, node),
            Content::Scalar(_) | Content::List(_) => node.clone(),
        };
        let section = Section::open(&merged, node.place, "", connector::KEYS, problems);
        connectors.extend(connector::read(&section));
    }
    connectors
}

/// The mapping under `defaults` without what belongs to each connector alone.
fn defaults(top: &Section<'_>) -> Node {
    let mut node = top
        .node("defaults")
        .cloned()
        .unwrap_or_else(|| Node { place: top.place(), content: Content::Map(Vec::new()) });
    match &mut node.content {
        Content::Map(entries) => entries.retain(|entry: &Entry| {
            if entry.key == "name" {
                let message = "`defaults.name` means nothing: each connector has a name of its own";
                top.problems().report(entry.key_place, message);
            }
            entry.key != "name"
        }),
        Content::Scalar(_) | Content::List(_) => {
            top.report("defaults", &format!("must be a mapping, not {}", node.shape()));
            node.content = Content::Map(Vec::new());
        }
    }
    node
}
