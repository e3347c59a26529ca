//! Owns noticing that a file beside the configuration is another one than before. Does not own what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::settings::Settings;

/// How often the files are looked at. A change is told of when it is the same at two looks: whoever writes it is done.
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// What tells a file from another one of the same name; `None`: it is not there.
pub(super) type Mark = Option<(u64, u64, u64, i64, i64)>;

/// The files of a configuration and how they were when it was taken up.
pub(super) struct FileWatch {
    known: Vec<(PathBuf, Mark)>,
    /// How they were at the last look, if not as known.
    changing: Option<Vec<Mark>>,
    looked_at: Instant,
}

impl FileWatch {
    /// Notes the files as they are; without `reload_on_change` none.
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let files = if settings.daemon.reload_on_change { settings.files() } else { BTreeSet::new() };
        let known = files.into_iter().map(|file| {
            let mark = mark(&file);
            (file, mark)
        });
        Self { known: known.collect(), changing: None, looked_at: now }
    }

    /// How the files are now. To be asked before a configuration is read anew: a file may change while it is.
    pub(super) fn marks(&self) -> BTreeMap<PathBuf, Mark> {
        self.known.iter().map(|(file, _)| (file.clone(), mark(file))).collect()
    }

    /// Takes these marks for what is in force.
    pub(super) fn since(mut self, marks: &BTreeMap<PathBuf, Mark>) -> Self {
        for (file, known) in &mut self.known {
            *known = marks.get(file).copied().unwrap_or(*known);
        }
        self
    }

    /// The files that have changed and stayed so for a look; each change is told once. Empty between looks.
    pub(super) fn look(&mut self, now: Instant) -> Vec<PathBuf> {
        if now.duration_since(self.looked_at) < LOOK_EVERY {
            return Vec::new();
        }
        self.looked_at = now;
        let marks: Vec<Mark> = self.known.iter().map(|(file, _)| mark(file)).collect();
        let differs = self.known.iter().zip(&marks).any(|((_, known), found)| known != found);
        if !differs || self.changing.as_ref() != Some(&marks) {
            self.changing = differs.then_some(marks);
            return Vec::new();
        }
        self.changing = None;
        let mut changed = Vec::new();
        for ((file, known), found) in self.known.iter_mut().zip(marks) {
            if *known != found {
                *known = found;
                changed.push(file.clone());
            }
        }
        changed
    }
}

fn mark(file: &Path) -> Mark {
    // Follows links: mounted secrets change by the link that leads to them.
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn watched(folder: &Path, daemon: &str) -> FileWatch {
        let text = format!(
            "version: 1\ndaemon: {{ {daemon} }}\nconnectors:\n  - name: a\n    kafka:\n      topics: [t]\n      properties:\n        \
             bootstrap.servers: 'b:1'\n        sasl.password: '${{file:{0}/password}}'\n        ssl.key.location: {0}/key\n    \
             value: {{ format: avro }}\n    registry: {{ url: 'http://r' }}\n    storage: {{ url: 'file:///lake' }}\n",
            folder.display()
        );
        FileWatch::new(&config::load_str(&text, &|_| None).unwrap(), Instant::now())
    }

    /// The names of what has changed at a look, which comes in time.
    fn look(watch: &mut FileWatch) -> Vec<String> {
        let changed = watch.look(watch.looked_at + LOOK_EVERY);
        changed.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_change_is_told_once_and_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("password", "one");
        write("key", "one");
        let mut watch = watched(folder.path(), "");
        assert!(look(&mut watch).is_empty() && look(&mut watch).is_empty());
        write("password", "half");
        assert!(look(&mut watch).is_empty());
        write("password", "the whole");
        write("key", "another");
        assert!(look(&mut watch).is_empty(), "it has changed since the last look");
        assert!(watch.look(watch.looked_at).is_empty(), "it is not time yet");
        assert_eq!(look(&mut watch), ["key", "password"]);
        assert!(look(&mut watch).is_empty() && look(&mut watch).is_empty());
        // Gone, and back again: two changes.
        std::fs::remove_file(folder.path().join("key")).unwrap();
        assert_eq!((look(&mut watch).len(), look(&mut watch)), (0, vec!["key".to_owned()]));
        write("key", "back");
        assert_eq!((look(&mut watch).len(), look(&mut watch)), (0, vec!["key".to_owned()]));
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1", "2"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            std::fs::write(folder.path().join(version).join("password"), "same length").unwrap();
        }
        let turn = |version: &str| {
            std::os::unix::fs::symlink(version, folder.path().join("new")).unwrap();
            std::fs::rename(folder.path().join("new"), folder.path().join("data")).unwrap();
        };
        turn("1");
        std::os::unix::fs::symlink("data/password", folder.path().join("password")).unwrap();
        let mut watch = watched(folder.path(), "");
        turn("2");
        assert_eq!((look(&mut watch).len(), look(&mut watch)), (0, vec!["password".to_owned()]));
    }

    #[test]
    fn who_does_not_want_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "one").unwrap();
        let mut watch = watched(folder.path(), "reload_on_change: false");
        std::fs::write(folder.path().join("password"), "another").unwrap();
        assert!(look(&mut watch).is_empty() && look(&mut watch).is_empty());
    }
}
