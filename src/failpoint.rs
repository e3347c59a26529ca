//! Owns places where a test makes the process die, stop, wait or meet an error, on either side of each step of the
//! protocol. Does not own the steps. Without the feature `failpoints` the macro expands to nothing and this file is empty.
//!
//! `SLUICE_FAILPOINTS='publish.before=kill@3,seal.after=error'`: at the third time the first point is reached the
//! process kills itself, at the first time the second one is reached its step fails.

/// `failpoint!("name")` may end, stop or delay the process here; `failpoint!("name", otherwise)` may also evaluate
/// `otherwise`, usually a `return` of an error.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass($name);
    };
    ($name:literal, $otherwise:expr) => {
        #[cfg(feature = "failpoints")]
        if $crate::failpoint::fails($name) {
            $otherwise;
        }
    };
}

pub(crate) use failpoint;

#[cfg(feature = "failpoints")]
pub(crate) use armed::{fails, pass};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    const VARIABLE: &str = "SLUICE_FAILPOINTS";
    const WRONG_USAGE: i32 = 2;
    /// A signal to ourselves arrives a moment later; nothing may happen in between.
    const UNTIL_THE_SIGNAL: Duration = Duration::from_millis(50);

    /// Every point, in the order of the protocol.
    const POINTS: [&str; 42] = [
        "sweep.before",
        "sweep.after",
        "sweep.uploads",
        "recover.read.before",
        "recover.read.after",
        "recover.describe.before",
        "recover.list.before",
        "recover.list.after",
        "claim.before",
        "claim.after",
        "note.before",
        "note.after",
        "confirm.before",
        "confirm.after",
        "recover.start.before",
        "recover.start.after",
        "task.input",
        "append.before",
        "append.after",
        "write.after",
        "sync.after",
        "seal.before",
        "seal.after",
        "upload.create.before",
        "upload.create.after",
        "upload.part.before",
        "upload.part.after",
        "intend.before",
        "intend.after",
        "publish.before",
        "publish.after",
        "publish.file.before",
        "publish.file.after",
        "rename.before",
        "rename.after",
        "put.before",
        "put.after",
        "complete.before",
        "complete.after",
        "settle.before",
        "settle.after",
        "release.before",
    ];

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Stop,
        Panic,
        Error,
        Pause(Duration),
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Armed {
        action: Action,
        /// The action is due when this has come down to 0.
        times_left: u32,
    }

    static ARMED: OnceLock<Mutex<HashMap<String, Armed>>> = OnceLock::new();

    /// Acts if the point is due; an action `error` does nothing here.
    pub(crate) fn pass(point: &'static str) {
        let _ = fails(point);
    }

    /// Acts if the point is due; whether the step is to fail.
    pub(crate) fn fails(point: &'static str) -> bool {
        assert!(POINTS.contains(&point), "failpoint {point} is not in the list of points");
        let action = {
            let armed = ARMED.get_or_init(|| Mutex::new(from_environment()));
            let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = armed.get_mut(point) else { return false };
            entry.times_left = entry.times_left.saturating_sub(1);
            if entry.times_left > 0 {
                return false;
            }
            let action = entry.action;
            armed.remove(point);
            action
        };
        eprintln!("failpoint {point}: {action:?}");
        match action {
            Action::Kill => signal_self(Signal::KILL),
            Action::Stop => signal_self(Signal::STOP),
            Action::Panic => panic!("failpoint {point}"),
            Action::Pause(time) => std::thread::sleep(time),
            Action::Error => return true,
        }
        false
    }

    fn signal_self(signal: Signal) {
        if let Err(error) = kill_process(getpid(), signal) {
            eprintln!("failpoint: no signal: {error}");
        }
        std::thread::sleep(UNTIL_THE_SIGNAL);
    }

    fn from_environment() -> HashMap<String, Armed> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        parse(&text).unwrap_or_else(|reason| {
            eprintln!("{VARIABLE}: {reason}");
            std::process::exit(WRONG_USAGE)
        })
    }

    fn parse(text: &str) -> Result<HashMap<String, Armed>, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(parse_entry).collect()
    }

    fn parse_entry(entry: &str) -> Result<(String, Armed), String> {
        let wrong = || format!("`{entry}` is not POINT=kill|stop|panic|error|pause:MILLISECONDS[@TIME]");
        let (point, rest) = entry.split_once('=').ok_or_else(wrong)?;
        if !POINTS.contains(&point) {
            return Err(format!("no point `{point}`; there are {}", POINTS.join(" ")));
        }
        let (action, time) = rest.split_once('@').unwrap_or((rest, "1"));
        let action = match action.split_once(':') {
            None if action == "kill" => Action::Kill,
            None if action == "stop" => Action::Stop,
            None if action == "panic" => Action::Panic,
            None if action == "error" => Action::Error,
            Some(("pause", wait)) => Action::Pause(Duration::from_millis(wait.parse().map_err(|_| wrong())?)),
            _ => return Err(wrong()),
        };
        let times_left = time.parse().ok().filter(|time| *time > 0).ok_or_else(wrong)?;
        Ok((point.to_owned(), Armed { action, times_left }))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn points_are_armed_by_name_action_and_time() {
            let armed = parse("publish.before=kill@3, seal.after=pause:250").unwrap();
            assert_eq!(armed["publish.before"], Armed { action: Action::Kill, times_left: 3 });
            let pause = Action::Pause(Duration::from_millis(250));
            assert_eq!(armed["seal.after"], Armed { action: pause, times_left: 1 });
        }

        #[test]
        fn what_cannot_be_meant_is_refused() {
            for text in ["publish=kill", "publish.before", "publish.before=die", "publish.before=kill@0"] {
                assert!(parse(text).is_err(), "{text}");
            }
        }
    }
}
