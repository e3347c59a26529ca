//! Owns the list of negative controls: what is broken on purpose, always in the model around the task, so that one sees
//! that the promises would catch it.

use crate::promise::Promise;

/// A mistake in the surroundings of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    None,
    /// The door says "published" when it is asked to publish; the files follow later.
    CommitBeforePublish,
    /// The door publishes as soon as files are sealed.
    PublishBeforeIntend,
    /// The consumer hides the metadata of the committed offset.
    IgnoreIntent,
    /// The consumer hands a loss on as a revoke, and lets the client rejoin meanwhile.
    LostAsRevoked,
    /// The store replaces a file of the same name.
    ReplaceFiles,
    /// The door commits the largest end of any flush on its way instead of the end of the first.
    CommitLargestEnd,
    /// The consumer gives a partition up while a commit is in flight, and the client repeats it later.
    GiveUpWithCommitInFlight,
    /// The consumer hides what a commit says of offsets that are in no file.
    ForgetWhereFilesEnd,
    /// The door says that the note it is asked to write is the one that stands.
    ForgetNotes,
}

impl Control {
    /// The promises that must be seen broken, one after the other closing its eyes to those before.
    pub(crate) fn caught_by(self) -> &'static [Promise] {
        match self {
            Self::None => &[],
            Self::CommitBeforePublish | Self::CommitLargestEnd | Self::ForgetNotes => &[Promise::K1],
            // K4 sees it at once; that it matters is seen by K2.
            Self::PublishBeforeIntend => &[Promise::K4, Promise::K2],
            Self::IgnoreIntent | Self::ReplaceFiles => &[Promise::K2],
            Self::ForgetWhereFilesEnd => &[Promise::Contiguous],
            Self::LostAsRevoked | Self::GiveUpWithCommitInFlight => &[Promise::K3, Promise::K2],
        }
    }
}
