//! Several files taken together as one configuration.

use std::time::Duration;

use tempfile::TempDir;

use super::super::load;
use super::super::settings::{Settings, StartPosition};
use super::{SMALLEST, nothing};

struct Folder(TempDir);

impl Folder {
    fn of(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn settings(&self) -> Settings {
        load(self.0.path(), &nothing).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Without the folder in front of the files.
    fn errors(&self) -> Vec<String> {
        let errors = load(self.0.path(), &nothing).map(|_| ()).unwrap_err().to_string();
        let folder = format!("{}/", self.0.path().display());
        errors.replace(&folder, "").lines().map(str::to_owned).collect()
    }
}

const COMMON: &str = "\
version: 1
daemon: { shutdown_timeout: 7s }
defaults:
  kafka: { start: latest, properties: { bootstrap.servers: 'k:1', client.id: common } }
  value: { format: avro }
  registry: { url: 'http://r:1' }
  storage: { url: 's3://lake' }
  tasks: 3
";

const ORDERS: &str = "\
version: 1
connectors:
  - { name: orders, kafka: { topics: [orders] } }
";

const RETURNS: &str = "\
version: 1
defaults: { kafka: { start: error, properties: { client.id: own } }, tasks: ~ }
connectors:
  - { name: returns, kafka: { topics: [returns] }, rotate: { rows: 5 } }
  - { name: refunds, kafka: { topics: [refunds], properties: { client.id: mine } } }
";

#[test]
fn files_of_a_directory_are_taken_together() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let other = SMALLEST.replace("name: a", "name: b").replace("[t]", "[u]");
    write("2.yaml", SMALLEST);
    write("1.yml", &other.replace("connectors:", "defaults: { tasks: 3 }\nconnectors:"));
    write("0.yaml", "version: 1\ndaemon: { shutdown_timeout: 5s }\n");
    write(".hidden.yaml", "not: read");
    write("notes.txt", "not read");
    let settings = load(directory.path(), &nothing).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(settings.daemon.shutdown_timeout, Duration::from_secs(5));
    let names: Vec<_> = settings.connectors.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(settings.connectors[0].tasks.get(), 3);

    write("3.yaml", &SMALLEST.replace("connectors:", "daemon: {}\nconnectors:"));
    let errors = load(directory.path(), &nothing).unwrap_err().to_string();
    assert!(errors.ends_with("2.yaml:3"), "{errors}");
    let path = |name: &str| directory.path().join(name).display().to_string();
    assert!(
        errors.contains(&format!("{}:2:9: `daemon` may be in one file only", path("3.yaml"))),
        "{errors}"
    );
    assert!(errors.contains(&format!("{}:4:11: duplicate connector name `a`; first on", path("3.yaml"))));
}

#[test]
fn what_a_file_without_connectors_has_in_common_goes_under_all_of_them() {
    let folder =
        Folder::of(&[("zz-common.yaml", COMMON), ("orders.yaml", ORDERS), ("returns.yaml", RETURNS)]);
    let settings = folder.settings();
    assert_eq!(settings.daemon.shutdown_timeout, Duration::from_secs(7));
    let own = |at: usize| {
        let connector = &settings.connectors[at];
        (
            connector.name.as_str(),
            connector.kafka.properties["client.id"].expose().to_owned(),
            connector.kafka.start,
        )
    };
    assert_eq!(own(0), ("orders", "common".to_owned(), StartPosition::Latest));
    assert_eq!(own(1), ("returns", "own".to_owned(), StartPosition::Error));
    assert_eq!(own(2), ("refunds", "mine".to_owned(), StartPosition::Error));
    assert_eq!(settings.connectors[0].tasks.get(), 3);
    let at = &settings.connectors[0].written_at.keys["kafka.properties.client.id"];
    assert!(at.ends_with("zz-common.yaml:4:67"), "{at}");
    // The file's own `~` took the common default away.
    let unsaid = super::loaded(SMALLEST).connectors[0].tasks;
    assert_eq!(settings.connectors[1].tasks, unsaid);
}

#[test]
fn defaults_for_all_files_are_in_one_file() {
    let again = "version: 1\ndefaults: { tasks: 1 }\n";
    let folder = Folder::of(&[("a.yaml", COMMON), ("b.yaml", again), ("orders.yaml", ORDERS)]);
    let expected = "b.yaml:2:11: `defaults` for all files may be in one file only; first at a.yaml:4. \
                    Those for connectors of one file belong into that file";
    assert_eq!(folder.errors(), [expected]);
}

#[test]
fn a_fault_in_what_is_common_is_told_once_at_its_file() {
    let wrong = COMMON.replace("client.id:", "client.ld:").replace("tasks: 3", "tusks: 3");
    let folder = Folder::of(&[("00.yaml", &wrong), ("orders.yaml", ORDERS), ("returns.yaml", RETURNS)]);
    let expected = [
        "00.yaml:4:67: `kafka.properties.client.ld` is no property of librdkafka; did you mean `client.id`?",
        "00.yaml:8:3: unknown key `tusks`; did you mean `tasks`?",
    ];
    assert_eq!(folder.errors(), expected);
}

#[test]
fn what_a_file_that_cannot_be_read_may_hold_is_not_missed() {
    let folder = Folder::of(&[("00.yaml", "version: 1\ndefaults: [\n"), ("orders.yaml", ORDERS)]);
    let errors = folder.errors();
    assert!(errors.len() == 1 && errors[0].starts_with("00.yaml:"), "{errors:?}");
    folder.write("orders.yaml", &ORDERS.replace("topics:", "topcs:"));
    let errors = folder.errors();
    assert!(
        errors.len() == 2 && errors[1].starts_with("orders.yaml:3:30: unknown key `kafka.topcs`"),
        "{errors:?}"
    );
}

#[test]
fn a_directory_without_connectors_is_told_so() {
    let folder = Folder::of(&[("00.yaml", COMMON), ("10.yaml", "version: 1\n")]);
    let errors = folder.errors();
    assert!(errors.len() == 1 && errors[0].contains("missing required key `connectors`"), "{errors:?}");
}

#[test]
fn a_name_in_two_files_is_told_with_both() {
    let folder = Folder::of(&[("00.yaml", COMMON), ("a.yaml", ORDERS), ("b.yaml", ORDERS)]);
    let errors = folder.errors();
    assert!(errors.len() == 1, "{errors:?}");
    assert!(errors[0].starts_with("b.yaml:3:13: duplicate connector name `orders`; first on "), "{errors:?}");
    assert!(errors[0].ends_with("a.yaml:3"), "{errors:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_no_connector_less() {
    let folder = Folder::of(&[("00.yaml", COMMON), ("a.yaml", ORDERS)]);
    std::os::unix::fs::symlink("nowhere", folder.0.path().join("b.yaml")).unwrap();
    std::fs::create_dir(folder.0.path().join("c.yaml")).unwrap();
    let errors = folder.errors();
    assert!(errors.len() == 1 && errors[0].starts_with("b.yaml:1:1: cannot read"), "{errors:?}");
}
