//! Owns what is wrong with a configuration and where. Does not own any rule: those who know a rule report here.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to correct in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to write instead. Holds no secret and no value that came from a reference.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration, by file and position; never empty. Shown one error a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors: by file in the order the files were read, then by line and column.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    /// The same as an iterator.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// The error of a file or directory that could not be read at all.
    pub(super) fn unreadable(file: &Path, message: String) -> Self {
        Self(vec![ConfigError { file: file.to_path_buf(), line: 1, column: 1, message }])
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A position in one of the files being read; ordered as the files and their text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// Index into the sources of [`Problems`].
    pub(super) source: usize,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

/// One text being read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Its name in messages.
    pub(super) file: PathBuf,
    /// What relative paths inside it start from.
    pub(super) directory: PathBuf,
}

/// Collects problems while the trees are walked, so that one run names all of them.
#[derive(Debug)]
pub(super) struct Problems {
    sources: Vec<Source>,
    found: RefCell<Vec<(Place, String)>>,
    warnings: RefCell<Vec<(Place, String)>>,
    missing_is_forgiven: Cell<bool>,
}

impl Problems {
    /// None so far.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            found: RefCell::default(),
            warnings: RefCell::default(),
            missing_is_forgiven: Cell::new(false),
        }
    }

    /// Adds one.
    pub(super) fn report(&self, place: Place, message: impl Into<String>) {
        assert!(place.source < self.sources.len(), "a place lies in a known source");
        self.found.borrow_mut().push((place, message.into()));
    }

    /// Adds what someone should look at although it can be used.
    pub(super) fn warn(&self, place: Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push((place, message.into()));
    }

    /// From now on keys that are missing are no matter.
    pub(super) fn forgive_missing(&self) {
        self.missing_is_forgiven.set(true);
    }

    /// Whether nobody is to be told of a missing key.
    pub(super) fn forgives_missing(&self) -> bool {
        self.missing_is_forgiven.get()
    }

    /// A path written at `place`, made independent of the working directory's meaning for the file.
    pub(super) fn resolve_path(&self, place: Place, path: &str) -> PathBuf {
        self.sources[place.source].directory.join(path)
    }

    /// `place` as it stands at the head of a message: `file:line:column`.
    pub(super) fn spelled(&self, place: Place) -> String {
        format!("{}:{}:{}", self.sources[place.source].file.display(), place.line, place.column)
    }

    /// `place` as a second position in a message.
    pub(super) fn refer_to(&self, place: Place, from: Place) -> String {
        if place.source == from.source {
            format!("line {}", place.line)
        } else {
            format!("{}:{}", self.sources[place.source].file.display(), place.line)
        }
    }

    /// All warnings, as [`Self::into_errors`] gives the problems.
    pub(super) fn warnings(&self) -> Vec<ConfigError> {
        self.errors(self.warnings.take())
    }

    /// All of them, sorted and each once (one value under `defaults` is read for every connector), or nothing.
    pub(super) fn into_errors(self) -> Option<ConfigErrors> {
        let errors = self.errors(self.found.take());
        (!errors.is_empty()).then_some(ConfigErrors(errors))
    }

    fn errors(&self, mut found: Vec<(Place, String)>) -> Vec<ConfigError> {
        found.sort();
        found.dedup();
        let error = |(place, message): (Place, String)| ConfigError {
            file: self.sources[place.source].file.clone(),
            line: place.line,
            column: place.column,
            message,
        };
        found.into_iter().map(error).collect()
    }
}
