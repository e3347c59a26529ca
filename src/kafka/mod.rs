//! The consumer thread and the dead-letter producer. Does I/O, decides nothing.

mod bounds;
mod consumer;
mod context;
mod dead_letter;
mod native;
mod probe;
mod properties;
mod property;
mod reader;
mod trouble;
mod watermarks;

pub use consumer::{
    Announcement, Command, CommandSender, ConsumerEnd, ConsumerSettings, ConsumerStatus, TaskSender, start,
};
pub use dead_letter::DeadLetterProducer;
pub use probe::{TopicProbe, probe};
pub use properties::ahead_bytes;
pub use property::PropertyJudge;
pub use reader::{Between, ClusterReader};
