//! Owns `${NAME}`, `${NAME:-default}`, `${file:PATH}` and `$$` inside values. Does not own which names exist: the
//! environment is an argument.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::problem::{Place, Problems, Source};
use super::tree::{Content, Node, Scalar, Style};

/// What a referenced file may hold, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What all references of a configuration may give together, in bytes.
const GIVEN_BYTES_MAX: usize = 16 << 20;

/// A single value from elsewhere with its references replaced, as in a configuration; relative paths start from the working
/// directory.
///
/// # Errors
/// What is wrong with a reference; the message shows no value.
pub fn expanded(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let problems = Problems::new(vec![Source { file: PathBuf::new(), directory: PathBuf::new() }]);
    let place = Place { source: 0, line: 1, column: 1 };
    References::new(environment, &problems).expand(text, place).map(|(text, _)| text)
}

/// Replaces the references in the values of trees.
pub(super) struct References<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a Problems,
    bytes_left: usize,
    files: BTreeSet<PathBuf>,
}

impl<'a> References<'a> {
    /// Looks names up in `environment`; reports to `problems`.
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>, problems: &'a Problems) -> Self {
        Self { environment, problems, bytes_left: GIVEN_BYTES_MAX, files: BTreeSet::new() }
    }

    /// The files that were read so far.
    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files.into_iter().collect()
    }

    /// Replaces them in every value under `node`. Keys are left as they are.
    pub(super) fn resolve(&mut self, node: &mut Node) {
        match &mut node.content {
            Content::Scalar(scalar) => self.resolve_scalar(scalar, node.place),
            Content::List(items) => items.iter_mut().for_each(|item| self.resolve(item)),
            Content::Map(entries) => entries.iter_mut().for_each(|entry| self.resolve(&mut entry.value)),
        }
    }

    fn resolve_scalar(&mut self, scalar: &mut Scalar, place: Place) {
        if !scalar.text.contains('$') {
            return;
        }
        match self.expand(&scalar.text, place) {
            Ok((text, referenced)) => {
                scalar.text = text;
                scalar.referenced = referenced;
            }
            Err(message) => {
                scalar.style = Style::Unresolved;
                self.problems.report(place, message);
            }
        }
    }

    /// The text with its references replaced, and whether there were any.
    fn expand(&mut self, text: &str, place: Place) -> Result<(String, bool), String> {
        let mut expanded = String::with_capacity(text.len());
        let mut referenced = false;
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some(body) = after.strip_prefix('{') {
                let Some((body, after)) = body.split_once('}') else {
                    return Err("`${` without its `}`; write `$$` for a plain dollar sign".to_owned());
                };
                expanded.push_str(&self.give(body, place)?);
                referenced = true;
                rest = after;
            } else {
                // A lone `$` ends many a regular expression.
                expanded.push('$');
                rest = after;
            }
        }
        expanded.push_str(rest);
        Ok((expanded, referenced))
    }

    fn give(&mut self, body: &str, place: Place) -> Result<String, String> {
        if body.contains("${") {
            return Err("a reference inside a reference; write one only".to_owned());
        }
        let given = match body.strip_prefix("file:") {
            Some(path) => self.file(path, place)?,
            None => self.variable(body)?,
        };
        self.bytes_left = self
            .bytes_left
            .checked_sub(given.len())
            .ok_or("the references of the configuration give more than 16 MiB together")?;
        Ok(given)
    }

    fn variable(&self, body: &str) -> Result<String, String> {
        let name_bytes = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
        let (name, rest) = body.split_at(name_bytes);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a reference must be `${NAME}`, `${NAME:-default}` or `${file:PATH}`".to_owned());
        }
        let value = (self.environment)(name);
        match (rest.strip_prefix(":-"), value) {
            (None, _) if !rest.is_empty() => Err(format!(
                "the reference to `{name}` goes on with something unknown; \
                 a default is written `${{{name}:-default}}`"
            )),
            (_, Some(value)) if !value.is_empty() => Ok(value),
            (Some(default), _) => Ok(default.replace("$$", "$")),
            (None, Some(_)) => Err(format!(
                "the environment variable `{name}` is empty; set it, or give a default: `${{{name}:-default}}`"
            )),
            (None, None) => Err(format!(
                "the environment variable `{name}` is not set; set it, or give a default: `${{{name}:-default}}`"
            )),
        }
    }

    fn file(&mut self, path: &str, place: Place) -> Result<String, String> {
        if path.is_empty() {
            return Err("`${file:}` names no file".to_owned());
        }
        let cannot = |why: String| format!("cannot use the file `{path}` of a reference: {why}");
        let found = self.problems.resolve_path(place, path);
        let kind = std::fs::metadata(&found).map_err(|e| cannot(e.to_string()))?.file_type();
        if kind.is_dir() {
            return Err(cannot("it is a directory".to_owned()));
        }
        if !kind.is_file() {
            // A pipe would hold up whoever reads it, and a reload would find it empty.
            return Err(cannot("it is a pipe or a device, and must be a file".to_owned()));
        }
        let file = File::open(&found).map_err(|e| cannot(e.to_string()))?;
        self.files.insert(found);
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| cannot(e.to_string()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(cannot("it is larger than 1 MiB".to_owned()));
        }
        let mut content = String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8 text".to_owned()))?;
        if content.ends_with('\n') {
            content.pop();
            if content.ends_with('\r') {
                content.pop();
            }
        }
        if content.is_empty() { Err(cannot("it is empty".to_owned())) } else { Ok(content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, directory: &std::path::Path) -> Result<(String, bool), String> {
        let problems =
            Problems::new(vec![Source { file: "c.yaml".into(), directory: directory.to_path_buf() }]);
        let place = Place { source: 0, line: 1, column: 1 };
        let scalar = Scalar { text: text.to_owned(), style: Style::Plain, referenced: false };
        let mut node = Node { place, content: Content::Scalar(scalar) };
        let environment = |name: &str| match name {
            "HOST" => Some("kafka".to_owned()),
            "PRICE" => Some("${HOST}$$".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        References::new(&environment, &problems).resolve(&mut node);
        let scalar = node.scalar().unwrap().clone();
        match problems.into_errors() {
            Some(errors) => Err(errors.to_string()),
            None => Ok((scalar.text, scalar.referenced)),
        }
    }

    fn expanded(text: &str) -> String {
        resolved(text, ".".as_ref()).unwrap().0
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        assert_eq!(expanded("${HOST}:9092,${OTHER:-b}:9092"), "kafka:9092,b:9092");
        assert_eq!(expanded("${EMPTY:-default}"), "default");
        assert_eq!(expanded("${NONE:-}"), "");
        assert_eq!(expanded("${HOST:-unused}"), "kafka");
    }

    #[test]
    fn fault_111_dollar_signs_escape_and_stand_alone() {
        assert_eq!(expanded("$${HOST} costs $$5"), "${HOST} costs $5");
        assert_eq!(expanded("^shop\\..*$"), "^shop\\..*$");
        assert_eq!(expanded("a$b"), "a$b");
        assert!(!resolved("$$", ".".as_ref()).unwrap().1);
        // What a variable holds is a value and not another text with references.
        assert_eq!(expanded("${PRICE}"), "${HOST}$$");
    }

    #[test]
    fn fault_111_a_missing_or_empty_variable_is_named() {
        let missing = resolved("${NOT_THERE}", ".".as_ref()).unwrap_err();
        assert!(missing.contains("`NOT_THERE` is not set"), "{missing}");
        let empty = resolved("x${EMPTY}", ".".as_ref()).unwrap_err();
        assert!(empty.contains("`EMPTY` is empty"), "{empty}");
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in
            ["${", "${HOST", "${}", "${1}", "${HOST-x}", "${HOST:?x}", "${A:-${B}}", "${file:}", "${a b}"]
        {
            assert!(resolved(text, ".".as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_loses_one_newline_and_is_found_beside_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "hunter2\n\n").unwrap();
        std::fs::write(directory.path().join("crlf"), "hunter2\r\n").unwrap();
        std::fs::write(directory.path().join("nothing"), "\n").unwrap();
        std::fs::write(directory.path().join("binary"), [0xff, 0xfe]).unwrap();
        std::fs::write(directory.path().join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        std::fs::create_dir(directory.path().join("folder")).unwrap();
        let read = |text: &str| resolved(text, directory.path());
        assert!(read("${file:/dev/zero}").unwrap_err().contains("a pipe or a device"));
        assert_eq!(read("${file:secret}").unwrap(), ("hunter2\n".to_owned(), true));
        assert_eq!(read("${file:crlf}").unwrap().0, "hunter2");
        for (name, why) in [
            ("nothing", "empty"),
            ("binary", "UTF-8"),
            ("large", "larger"),
            ("absent", "absent"),
            ("folder", "a directory"),
        ] {
            let error = read(&format!("${{file:{name}}}")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
