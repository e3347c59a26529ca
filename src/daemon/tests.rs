//! Proves the lives of connectors with ones that do nothing but obey: what starts, what is left alone, what comes back.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::*;
use crate::admin::ConnectorAction;
use crate::config;
use crate::error::{Failure, Stage};
use crate::kafka::{Announcement, Command, CommandSender, ConsumerEnd};

/// What happened, in order: `start orders group`, `drain orders`, `paused orders`.
type Diary = Arc<Mutex<Vec<String>>>;

struct Theatre {
    diary: Diary,
    /// The commands of the living, by name.
    living: Arc<Mutex<BTreeMap<String, CommandSender>>>,
    /// Connectors that do not end when they are asked to.
    stubborn: Arc<Mutex<Vec<String>>>,
    daemon: Daemon,
    next: Arc<Mutex<Result<Settings, Vec<String>>>>,
}

fn settings(connectors: &[(&str, &str)], daemon: &str) -> Settings {
    let list: Vec<String> = connectors
        .iter()
        .map(|(name, more)| {
            format!(
                "  - name: {name}\n    kafka: {{ topics: [{name}], properties: {{ bootstrap.servers: 'localhost:9092' }} }}\n    \
                 registry: {{ url: 'http://localhost:8081' }}\n    storage: {{ url: 'file:///lake/{name}' }}\n{more}"
            )
        })
        .collect();
    let text = format!(
        "version: 1\ndaemon: {{ {daemon} }}\ndefaults: {{ value: {{ format: avro }} }}\nconnectors:\n{}",
        list.concat()
    );
    config::load_str(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Theatre {
    fn new(settings: &Settings) -> Self {
        let (diary, living, stubborn) = (Diary::default(), Arc::default(), Arc::default());
        let next = Arc::new(Mutex::new(Ok(settings.clone())));
        let reread = next.clone();
        let surroundings = Surroundings {
            reread: Some(Box::new(move || reread.lock().unwrap().clone())),
            ..Surroundings::default()
        };
        let start = obedient(diary.clone(), Arc::clone(&living), Arc::clone(&stubborn));
        let daemon = Daemon::new(settings, &Metrics::new(), surroundings, start);
        Self { diary, living, stubborn, daemon, next }
    }

    fn look_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", self.diary.lock().unwrap());
            self.daemon.look(false);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn look_until_diary(&mut self, expected: &[&str]) {
        self.look_until(&format!("{expected:?}"), |theatre| {
            theatre.diary.lock().unwrap().len() >= expected.len()
        });
        assert_eq!(*self.diary.lock().unwrap(), expected);
        self.diary.lock().unwrap().clear();
    }

    fn fail(&self, name: &str, failure: Failure) {
        self.living.lock().unwrap()[name].send(Command::Fail(failure));
    }

    fn act(&mut self, name: &str, action: ConnectorAction) -> Result<(), String> {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        self.daemon.obey(AdminCommand::Connector { connector: name.to_owned(), action, reply });
        answer.try_recv().expect("it is answered at once")
    }

    fn states(&self) -> Vec<(String, ConnectorState)> {
        snapshot(&self.daemon.shown).connectors.into_iter().map(|one| (one.name, one.state)).collect()
    }

    fn reload(&mut self, next: Result<Settings, Vec<String>>) -> Result<ReloadReport, Vec<String>> {
        *self.next.lock().unwrap() = next;
        self.daemon.reload()
    }
}

/// Starts connectors that write what they are told into the diary.
fn obedient(
    diary: Diary,
    living: Arc<Mutex<BTreeMap<String, CommandSender>>>,
    stubborn: Arc<Mutex<Vec<String>>>,
) -> Start {
    Arc::new(move |settings, _, _, _| {
        let (commands, heard) = CommandSender::detached();
        let name = settings.name.clone();
        diary.lock().unwrap().push(format!("start {name} {}", settings.kafka.group));
        living.lock().unwrap().insert(name.clone(), commands.clone());
        let (diary, stubborn) = (diary.clone(), stubborn.clone());
        let thread = std::thread::spawn(move || live(&name, &heard, &diary, &stubborn));
        Ok(Connector::of(commands, thread))
    })
}

fn live(
    name: &str,
    heard: &Receiver<Command>,
    diary: &Mutex<Vec<String>>,
    stubborn: &Mutex<Vec<String>>,
) -> Result<ConsumerEnd, Failure> {
    loop {
        match heard.recv().unwrap() {
            Command::Drain => {
                diary.lock().unwrap().push(format!("drain {name}"));
                if !stubborn.lock().unwrap().iter().any(|one| one == name) {
                    return Ok(ConsumerEnd::Drained);
                }
            }
            Command::Fail(failure) => return Err(failure),
            Command::Tell(Announcement::SetPaused(true)) => {
                diary.lock().unwrap().push(format!("pause {name}"));
            }
            _ => {}
        }
    }
}

fn two() -> Settings {
    settings(&[("a", ""), ("b", "")], "")
}

fn started(settings: &Settings) -> Theatre {
    let mut theatre = Theatre::new(settings);
    theatre.look_until("all run", |theatre| {
        theatre.states().iter().all(|(_, state)| *state == ConnectorState::Running)
    });
    theatre.diary.lock().unwrap().clear();
    theatre
}

#[test]
fn fault_105_a_connector_that_may_recover_is_started_again_and_no_other() {
    let mut theatre = started(&two());
    theatre.fail("a", Failure::retriable(Stage::Encode, "a task panicked"));
    theatre.look_until("it has failed", |theatre| theatre.states()[0].1 == ConnectorState::Failed);
    let shown = snapshot(&theatre.daemon.shown).connectors.remove(0);
    assert!(shown.restart_in_seconds.is_some_and(|wait| wait <= 1.0), "{shown:?}");
    theatre.look_until_diary(&["start a sluice-a"]);
    theatre.look_until("it runs", |theatre| theatre.states()[0].1 == ConnectorState::Running);
    assert_eq!(theatre.daemon.metrics.connector("a").totals().restarts, 1);
    assert_eq!(theatre.daemon.metrics.connector("b").totals().restarts, 0);
}

#[test]
fn what_does_not_pass_by_itself_waits_for_a_person() {
    let mut theatre = started(&two());
    theatre.fail("a", Failure::fatal(Stage::Publish, "access denied"));
    theatre.look_until("it has failed", |theatre| theatre.states()[0].1 == ConnectorState::Failed);
    for _ in 0..5 {
        theatre.daemon.look(false);
    }
    assert!(theatre.daemon.connectors[0].has_ended());
    assert!(theatre.diary.lock().unwrap().is_empty());
    theatre.act("a", ConnectorAction::Restart).unwrap();
    theatre.look_until_diary(&["start a sluice-a"]);
}

#[test]
fn a_failed_connector_does_not_come_back_in_a_bounded_run() {
    let mut theatre = started(&two());
    theatre.daemon.bounded = true;
    theatre.fail("a", Failure::retriable(Stage::Encode, "a task panicked"));
    theatre.look_until("it has failed", |theatre| theatre.daemon.connectors[0].has_ended());
    assert!(matches!(theatre.daemon.end(), DaemonEnd::Failed(failures) if failures[0].0 == "a"));
}

#[test]
fn a_reload_touches_only_what_has_changed() {
    let mut theatre = started(&settings(&[("gone", ""), ("same", ""), ("other", "")], ""));
    let next = settings(&[("new", ""), ("other", "    rotate: { rows: 5 }\n"), ("same", "")], "memory: 1GiB");
    let report = theatre.reload(Ok(next)).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = ReloadReport {
        added: names(&["new"]),
        removed: names(&["gone"]),
        changed: names(&["other"]),
        unchanged: names(&["same"]),
        restarted: names(&[]),
        needs_restart: names(&["daemon.memory"]),
    };
    assert_eq!(report, expected);
    theatre.look_until("both have begun", |theatre| theatre.diary.lock().unwrap().len() == 4);
    let mut diary = std::mem::take(&mut *theatre.diary.lock().unwrap());
    // Nobody starts before everybody who gives way has ended.
    diary[..2].sort();
    diary[2..].sort();
    assert_eq!(diary, ["drain gone", "drain other", "start new sluice-new", "start other sluice-other"]);
    theatre.look_until("all run", |theatre| {
        theatre.states().iter().map(|(name, _)| name.as_str()).eq(["new", "other", "same"])
            && theatre.states().iter().all(|(_, state)| *state == ConnectorState::Running)
    });
}

#[test]
fn a_bad_file_is_refused_whole() {
    let mut theatre = started(&two());
    let problems = vec!["connectors.yaml:1:1: unknown key `x`".to_owned()];
    assert_eq!(theatre.reload(Err(problems.clone())), Err(problems));
    for _ in 0..5 {
        theatre.daemon.look(false);
    }
    assert!(theatre.diary.lock().unwrap().is_empty());
    assert_eq!(
        theatre.states(),
        [("a".to_owned(), ConnectorState::Running), ("b".to_owned(), ConnectorState::Running)]
    );
    let page = theatre.daemon.metrics.render(&DaemonSnapshot::default());
    assert!(page.contains("sluice_config_last_reload_successful 0\n"));
}

#[test]
fn a_reload_starts_what_has_failed_and_leaves_what_only_moved() {
    let mut theatre = started(&two());
    theatre.fail("b", Failure::fatal(Stage::Publish, "access denied"));
    theatre.look_until("it has failed", |theatre| theatre.states()[1].1 == ConnectorState::Failed);
    // The same connectors on other lines.
    let moved = settings(&[("b", ""), ("a", "")], "shutdown_timeout: 30s");
    let report = theatre.reload(Ok(moved)).unwrap();
    assert_eq!((report.restarted, report.unchanged), (vec!["b".to_owned()], vec!["a".to_owned()]));
    theatre.look_until_diary(&["start b sluice-b"]);
}

#[test]
fn a_changed_schema_file_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reader.avsc");
    std::fs::write(&path, "1").unwrap();
    let more = format!("    schema: {{ evolution: fixed, reader_schema_file: '{}' }}\n", path.display());
    let with_file = || settings(&[("a", &more)], "");
    let mut theatre = started(&with_file());
    assert_eq!(theatre.reload(Ok(with_file())).unwrap().unchanged, ["a"]);
    std::fs::write(&path, "2").unwrap();
    assert_eq!(theatre.reload(Ok(with_file())).unwrap().changed, ["a"]);
}

#[test]
fn a_drain_that_does_not_end_does_not_keep_new_settings_out() {
    let mut theatre = started(&settings(&[("a", "")], "shutdown_timeout: 50ms"));
    theatre.stubborn.lock().unwrap().push("a".to_owned());
    let next = settings(&[("a", "    rotate: { rows: 5 }\n")], "shutdown_timeout: 50ms");
    assert_eq!(theatre.reload(Ok(next)).unwrap().changed, ["a"]);
    theatre.look_until_diary(&["drain a", "start a sluice-a"]);
}

#[test]
fn a_pause_lasts_until_it_is_taken_back() {
    let mut theatre = started(&settings(&[("a", "")], ""));
    let act = |theatre: &mut Theatre, action| theatre.act("a", action).unwrap();
    act(&mut theatre, ConnectorAction::Pause);
    act(&mut theatre, ConnectorAction::Restart);
    theatre.look_until("it is back", |theatre| {
        theatre.states()[0].1 == ConnectorState::Paused && theatre.diary.lock().unwrap().len() == 4
    });
    assert_eq!(*theatre.diary.lock().unwrap(), ["pause a", "drain a", "start a sluice-a", "pause a"]);
    act(&mut theatre, ConnectorAction::Resume);
    assert_eq!(theatre.states()[0].1, ConnectorState::Running);
}

#[test]
fn a_shutdown_ends_those_that_wait_to_be_started_again() {
    let mut theatre = started(&two());
    theatre.fail("a", Failure::retriable(Stage::Encode, "a task panicked"));
    theatre.look_until("it has failed", |theatre| theatre.states()[0].1 == ConnectorState::Failed);
    let signals = Arc::new(Signals::default());
    signals.shutdown.store(true, Ordering::SeqCst);
    let end = theatre.daemon.supervise(&signals, None);
    assert!(matches!(end, DaemonEnd::DoneWithout(down) if down.len() == 1 && down[0].0 == "a"));
    assert_eq!(*theatre.diary.lock().unwrap(), ["drain b"]);
}

#[test]
fn a_shutdown_is_done_whatever_had_failed_before_but_not_if_a_drain_fails() {
    let mut theatre = started(&two());
    theatre.fail("a", Failure::fatal(Stage::Publish, "access denied"));
    theatre.look_until("it has failed", |theatre| theatre.daemon.connectors[0].has_ended());
    let signals = Arc::new(Signals::default());
    signals.shutdown.store(true, Ordering::SeqCst);
    theatre.stubborn.lock().unwrap().push("b".to_owned());
    let (b, diary) = (theatre.living.lock().unwrap()["b"].clone(), theatre.diary.clone());
    let fails = std::thread::spawn(move || {
        while *diary.lock().unwrap() != ["drain b"] {
            std::thread::sleep(Duration::from_millis(1));
        }
        b.send(Command::Fail(Failure::fatal(Stage::Publish, "the bucket is gone")));
    });
    let end = theatre.daemon.supervise(&signals, None);
    fails.join().unwrap();
    assert!(matches!(end, DaemonEnd::Failed(failures) if failures.len() == 1 && failures[0].0 == "b"));
}

#[test]
fn a_command_that_can_do_nothing_says_so_and_a_pause_is_remembered() {
    let mut theatre = Theatre::new(&settings(&[("a", "")], ""));
    assert!(theatre.act("a", ConnectorAction::Flush).unwrap_err().contains("is starting"));
    theatre.look_until("it runs", |theatre| theatre.states()[0].1 == ConnectorState::Running);
    theatre.act("a", ConnectorAction::Flush).unwrap();
    theatre.fail("a", Failure::fatal(Stage::Publish, "access denied"));
    theatre.look_until("it has failed", |theatre| theatre.states()[0].1 == ConnectorState::Failed);
    let refused = theatre.act("a", ConnectorAction::Flush).unwrap_err();
    assert!(refused.contains("POST /api/connectors/a/restart"), "{refused}");
    theatre.act("a", ConnectorAction::Pause).unwrap();
    let shown = snapshot(&theatre.daemon.shown).connectors.remove(0);
    assert_eq!((shown.state, shown.paused), (ConnectorState::Failed, true));
    theatre.act("a", ConnectorAction::Restart).unwrap();
    theatre.look_until("it is back", |theatre| theatre.states()[0].1 == ConnectorState::Paused);
    theatre.act("a", ConnectorAction::Resume).unwrap();
    assert!(!snapshot(&theatre.daemon.shown).connectors[0].paused);
    assert!(theatre.act("nobody", ConnectorAction::Pause).is_err());
}

#[test]
fn whoever_asks_during_a_shutdown_is_told_so() {
    let mut theatre = started(&two());
    let signals = Arc::new(Signals::default());
    signals.shutdown.store(true, Ordering::SeqCst);
    let (commands, inbox) = mpsc::channel(4);
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    commands.try_send(AdminCommand::Reload { reply }).unwrap();
    assert_eq!(theatre.daemon.supervise(&signals, Some(inbox)), DaemonEnd::Done);
    assert!(answer.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Closed));
    assert!(commands.is_closed());
}

#[test]
fn a_bounded_run_sums_up_what_each_connector_did() {
    let mut theatre = started(&two());
    theatre.daemon.bounded = true;
    let (sender, summaries) = std::sync::mpsc::channel();
    theatre.daemon.surroundings.summaries = Some(sender);
    theatre.daemon.metrics.connector("b").rows.add(7);
    theatre.fail("a", Failure::fatal(Stage::Publish, "access denied"));
    theatre.living.lock().unwrap()["b"].send(Command::Drain);
    let end = theatre.daemon.supervise(&Arc::default(), None);
    assert!(matches!(end, DaemonEnd::Failed(failures) if failures[0].0 == "a"));
    let told: Vec<_> =
        summaries.try_iter().map(|one| (one.connector, one.outcome, one.totals.rows)).collect();
    assert_eq!(told, [("a".to_owned(), "failed", 0), ("b".to_owned(), "stopped", 7)]);
}

#[test]
fn a_bounded_run_that_is_stopped_before_its_end_is_not_done() {
    let mut theatre = started(&two());
    theatre.daemon.bounded = true;
    let signals = Arc::new(Signals::default());
    signals.shutdown.store(true, Ordering::SeqCst);
    let end = theatre.daemon.supervise(&signals, None);
    assert_eq!(end, DaemonEnd::Interrupted(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_restart_does_not_bring_back_what_a_reload_removed() {
    let mut theatre = started(&two());
    theatre.stubborn.lock().unwrap().push("a".to_owned());
    assert_eq!(theatre.reload(Ok(settings(&[("b", "")], ""))).unwrap().removed, ["a"]);
    for action in ConnectorAction::ALL {
        assert!(theatre.act("a", action).unwrap_err().contains("is being removed"));
    }
    theatre.fail("a", Failure::fatal(Stage::Publish, "access denied"));
    theatre.look_until("it has left", |theatre| theatre.states().len() == 1);
    assert_eq!(*theatre.diary.lock().unwrap(), ["drain a"]);
}

#[test]
fn what_needs_a_restart_is_told_until_it_is_in_force_or_taken_back() {
    let mut theatre = started(&two());
    let changed = || settings(&[("a", ""), ("b", "")], "memory: 1GiB");
    assert_eq!(theatre.reload(Ok(changed())).unwrap().needs_restart, ["daemon.memory"]);
    assert_eq!(theatre.reload(Ok(changed())).unwrap().needs_restart, ["daemon.memory"]);
    assert!(theatre.reload(Ok(two())).unwrap().needs_restart.is_empty());
}

#[test]
fn the_rules_of_access_stay_those_of_the_address_that_is_listened_on() {
    let mut theatre = started(&two());
    let before = theatre.daemon.access.lock().unwrap().clone();
    theatre.reload(Ok(settings(&[("a", ""), ("b", "")], "listen: 0.0.0.0:9464"))).unwrap();
    assert_eq!(format!("{:?}", theatre.daemon.access.lock().unwrap()), format!("{before:?}"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_listened_on_when_it_is_free() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let waiting = tokio::spawn(super::bound(address, std::net::TcpListener::bind(address)));
    tokio::task::yield_now().await;
    drop(other);
    let listener = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
}
