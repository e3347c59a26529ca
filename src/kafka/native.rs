//! Owns every call into librdkafka that the `rdkafka` crate has no safe form for: a queue of our own that all
//! partitions feed and that is consumed in batches, commits with an answer for each partition, the cached end of
//! a partition, our member id, and the description of topics. The only unsafe code that touches librdkafka; each type is safe to use from outside.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::position::{Offset, TopicPartition};
use crate::record::{Header, RECORD_OVERHEAD_BYTES, RawRecord, RecordBlock};

/// A queue that any number of partitions are forwarded to. Must be dropped before its consumer; the borrow that
/// would say so cannot be held beside the consumer, so the owner (the consumer thread) drops it first.
pub(super) struct BatchQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    waker: QueueWaker,
    slots: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka queues may be used from any thread; `slots` is scratch space that is empty between calls.
unsafe impl Send for BatchQueue {}

/// Wakes a thread that waits in [`BatchQueue::consume`]. Outlives the queue harmlessly.
#[derive(Clone)]
pub(super) struct QueueWaker(Arc<Mutex<Option<QueuePointer>>>);

struct QueuePointer(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: the pointer is only used under the mutex, for a call that librdkafka allows from any thread.
unsafe impl Send for QueuePointer {}

/// What came from the queue: consecutive messages of one partition.
pub(super) enum Run {
    /// Records in offset order.
    Records { topic: Arc<str>, partition: i32, block: RecordBlock },
    /// Fetching failed.
    Error { topic: Arc<str>, partition: i32, code: RDKafkaErrorCode, reason: String },
}

impl Run {
    pub(super) fn place(&self) -> (Arc<str>, i32) {
        match self {
            Self::Records { topic, partition, .. } | Self::Error { topic, partition, .. } => {
                (topic.clone(), *partition)
            }
        }
    }
}

impl BatchQueue {
    pub(super) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, most_messages: usize) -> Option<Self> {
        // SAFETY: the client pointer is valid while the consumer is borrowed.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        let waker = QueueWaker(Arc::new(Mutex::new(Some(QueuePointer(queue)))));
        Some(Self { queue, waker, slots: vec![ptr::null_mut(); most_messages] })
    }

    pub(super) fn waker(&self) -> QueueWaker {
        self.waker.clone()
    }

    /// Makes the messages of a partition come out of this queue. False when the client does not know the partition.
    pub(super) fn forward<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partition: i32,
    ) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        // SAFETY: client and topic are valid for the call; the returned reference is given back at once, which
        // leaves the forwarding in place.
        unsafe {
            let source =
                sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
            if source.is_null() {
                return false;
            }
            sys::rd_kafka_queue_forward(source, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Waits up to `timeout` for `most_messages` (of as many as there are slots for), or until woken, and gives what there
    /// is, cut into runs.
    pub(super) fn consume(
        &mut self,
        timeout: Duration,
        most_messages: usize,
        with_headers: bool,
        in_flight: &InFlight<'_>,
    ) -> Vec<Run> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `slots` has room for the stated number of pointers; each one filled is owned by us from then on.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                timeout_ms,
                self.slots.as_mut_ptr(),
                self.slots.len().min(most_messages),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        let messages: Vec<NativeMessage> =
            self.slots[..count].iter_mut().filter_map(NativeMessage::take).collect();
        cut_into_runs(messages, with_headers, in_flight)
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        self.waker.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // SAFETY: created by `rd_kafka_queue_new`, destroyed once; no waker can reach it any more.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl QueueWaker {
    pub(super) fn wake(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: the pointer is in the mutex only while the queue lives.
            unsafe { sys::rd_kafka_queue_yield(queue.0.as_ptr()) };
        }
    }
}

/// One message that we own.
struct NativeMessage(NonNull<sys::rd_kafka_message_t>);

// SAFETY: a message is plain memory with atomic reference counts behind it; librdkafka lets any thread destroy it.
unsafe impl Send for NativeMessage {}

impl NativeMessage {
    fn take(slot: &mut *mut sys::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(std::mem::replace(slot, ptr::null_mut())).map(Self)
    }

    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: valid until `drop`.
        unsafe { self.0.as_ref() }
    }

    fn topic(&self) -> &str {
        let message = self.get();
        if message.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic handle lives as long as the message; names are ASCII.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)) }.to_str().unwrap_or("")
    }

    fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = self.get().err;
        (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
    }

    fn raw_record(&self, with_headers: bool) -> Option<RawRecord> {
        let message = self.get();
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        let bytes =
            |start: *mut c_void, length: usize| NonNull::new(start.cast::<u8>()).map(|start| (start, length));
        Some(RawRecord {
            offset: Offset::new(message.offset)?,
            timestamp_ms: (timestamp >= 0).then_some(timestamp),
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            headers: if with_headers { self.headers() } else { Vec::new() },
        })
    }

    fn headers(&self) -> Vec<Header> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is valid and keeps ownership of the list.
        let code = unsafe { sys::rd_kafka_message_headers(self.0.as_ptr(), &raw mut list) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        let mut headers = Vec::new();
        loop {
            let (mut key, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list is valid; the pointers written are valid as long as the message.
            unsafe {
                let code = sys::rd_kafka_header_get_all(
                    list,
                    headers.len(),
                    &raw mut key,
                    &raw mut value,
                    &raw mut length,
                );
                if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return headers;
                }
                headers.push(Header {
                    key: CStr::from_ptr(key).to_string_lossy().into_owned(),
                    value: NonNull::new(value.cast_mut()).map(|value| {
                        std::slice::from_raw_parts(value.cast::<u8>().as_ptr(), length).to_vec()
                    }),
                });
            }
        }
    }
}

impl Drop for NativeMessage {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Keeps the messages of a block alive and counts their bytes: for all partitions, and for its own.
struct RunOwner {
    messages: Vec<NativeMessage>,
    bytes: usize,
    in_flight_bytes: [Arc<AtomicUsize>; 2],
}

/// Where the bytes of blocks are counted until they are dropped.
pub(super) struct InFlight<'a> {
    /// Of all partitions.
    pub(super) all: &'a Arc<AtomicUsize>,
    /// Of one.
    pub(super) of: &'a dyn Fn(&TopicPartition) -> Arc<AtomicUsize>,
}

impl Drop for RunOwner {
    fn drop(&mut self) {
        self.messages.clear();
        for count in &self.in_flight_bytes {
            count.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

fn cut_into_runs(messages: Vec<NativeMessage>, with_headers: bool, in_flight: &InFlight<'_>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut open: Vec<NativeMessage> = Vec::new();
    for message in messages {
        if let Some(code) = message.error() {
            runs.extend(close_run(std::mem::take(&mut open), with_headers, in_flight));
            runs.push(error_run(&message, code));
            continue;
        }
        // Offsets that do not ascend begin a new run too: after a seek back, blocks must not mix both sides of it.
        let continues = open.last().is_some_and(|last| {
            let (a, b) = (last.get(), message.get());
            ptr::eq(a.rkt, b.rkt) && a.partition == b.partition && a.offset < b.offset
        });
        if !continues {
            runs.extend(close_run(std::mem::take(&mut open), with_headers, in_flight));
        }
        open.push(message);
    }
    runs.extend(close_run(open, with_headers, in_flight));
    runs
}

fn close_run(mut messages: Vec<NativeMessage>, with_headers: bool, in_flight: &InFlight<'_>) -> Option<Run> {
    let first = messages.first()?;
    let tp = TopicPartition { topic: Arc::from(first.topic()), partition: first.get().partition };
    // As much as is needed, and no more: records that wait are counted by their number.
    messages.shrink_to_fit();
    let mut records: Vec<RawRecord> = Vec::with_capacity(messages.len());
    records.extend(messages.iter().filter_map(|message| message.raw_record(with_headers)));
    // Never nothing for a message, so that the count is zero only when no message is left.
    let bytes = messages
        .iter()
        .map(|message| message.get().len + message.get().key_len + RECORD_OVERHEAD_BYTES)
        .sum::<usize>()
        + records.iter().map(RawRecord::headers_bytes).sum::<usize>();
    let in_flight_bytes = [in_flight.all.clone(), (in_flight.of)(&tp)];
    for count in &in_flight_bytes {
        count.fetch_add(bytes, Ordering::Relaxed);
    }
    let owner = RunOwner { messages, bytes, in_flight_bytes };
    // SAFETY: keys and values lie in the messages, which the owner keeps until it is dropped; librdkafka never
    // changes a delivered message, and messages may move between threads.
    let block = unsafe { RecordBlock::from_raw(records, Box::new(owner)) };
    Some(Run::Records { topic: tp.topic, partition: tp.partition, block })
}

fn error_run(message: &NativeMessage, code: RDKafkaErrorCode) -> Run {
    let (topic, partition): (Arc<str>, i32) = (Arc::from(message.topic()), message.get().partition);
    // SAFETY: for an error message the payload, where there is one, is a C string owned by the message.
    let reason = unsafe {
        let text = sys::rd_kafka_message_errstr(message.0.as_ptr());
        if text.is_null() { code.to_string() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Run::Error { topic, partition, code, reason }
}

/// One offset to commit.
pub(super) struct OffsetToCommit<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: Offset,
    pub(super) metadata: &'a str,
}

/// How long an answer is waited for at one go, milliseconds.
const WAIT_SLICE_MS: i32 = 200;

/// Commits offsets and waits for the coordinator's answer, one result for each in the given order. The wait has no
/// bound of its own: an answer, an error or the client's time-out always comes. Meanwhile `serve` is called now and then.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &[OffsetToCommit<'_>],
    mut serve: impl FnMut(),
) -> Vec<Result<(), RDKafkaErrorCode>> {
    let fail = |code: RDKafkaErrorCode| vec![Err(code); offsets.len()];
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for commit in offsets {
        let mut element = list.add_partition(commit.topic, commit.partition);
        if element.set_offset(KafkaOffset::Offset(commit.offset.as_i64())).is_err() {
            return fail(RDKafkaErrorCode::InvalidArgument);
        }
        element.set_metadata(commit.metadata);
    }
    let client = consumer.client().native_ptr();
    // SAFETY: client and list are valid for the calls; queue and event are destroyed before returning.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let code = sys::rd_kafka_commit_queue(client, list.ptr(), queue, None, ptr::null_mut());
        let results = if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let mut event = sys::rd_kafka_queue_poll(queue, WAIT_SLICE_MS);
            while event.is_null() {
                serve();
                event = sys::rd_kafka_queue_poll(queue, WAIT_SLICE_MS);
            }
            let results = commit_results(event, offsets);
            sys::rd_kafka_event_destroy(event);
            results
        } else {
            fail(code.into())
        };
        sys::rd_kafka_queue_destroy(queue);
        results
    }
}

/// # Safety
/// `event` must be null or a valid event.
unsafe fn commit_results(
    event: *mut sys::rd_kafka_event_t,
    offsets: &[OffsetToCommit<'_>],
) -> Vec<Result<(), RDKafkaErrorCode>> {
    if event.is_null() {
        return vec![Err(RDKafkaErrorCode::OperationTimedOut); offsets.len()];
    }
    // SAFETY: the event is valid; its list lives as long as it does.
    let (overall, list) =
        unsafe { (sys::rd_kafka_event_error(event), sys::rd_kafka_event_topic_partition_list(event)) };
    let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    offsets
        .iter()
        .map(|commit| {
            let Ok(topic) = CString::new(commit.topic) else { return Err(RDKafkaErrorCode::InvalidArgument) };
            let element = if list.is_null() {
                ptr::null_mut()
            } else {
                // SAFETY: list and topic are valid.
                unsafe { sys::rd_kafka_topic_partition_list_find(list, topic.as_ptr(), commit.partition) }
            };
            // SAFETY: an element found in the list is valid.
            let own = if element.is_null() { none } else { unsafe { (*element).err } };
            if own != none {
                Err(own.into())
            } else if overall != none {
                Err(overall.into())
            } else {
                Ok(())
            }
        })
        .collect()
}

/// The end of a partition as the last fetch saw it; no request is made.
pub(super) fn cached_high<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<Offset> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and topic are valid for the call.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Offset::new(high)).flatten()
}

/// The id under which the group knows us; empty while it knows us not, or no longer.
pub(super) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> String {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is valid for the calls; the text is ours and given back once.
    unsafe {
        let id = sys::rd_kafka_memberid(client);
        if id.is_null() {
            return String::new();
        }
        let text = CStr::from_ptr(id).to_string_lossy().into_owned();
        sys::rd_kafka_mem_free(client, id.cast());
        text
    }
}

/// Gives partitions up inside a callback, when the client is being closed.
pub(super) fn unassign_now<C: ClientContext + ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
) {
    // The result does not matter: the client is going away.
    let _ = consumer.incremental_unassign(list);
}

/// What a broker says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicDescription {
    /// The id it gave the topic when it was made; `None` where it has none.
    pub(super) id: Option<Arc<str>>,
    /// How many partitions there are.
    pub(super) partitions: i32,
}

/// What a broker says of each topic, or why it says nothing of it.
pub(super) type Described = HashMap<String, Result<TopicDescription, RDKafkaErrorCode>>;

/// A question about topics that is on its way. Must be dropped before its consumer, as [`BatchQueue`] must.
pub(super) struct Description(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka queues may be used from any thread.
unsafe impl Send for Description {}

impl Description {
    /// Asks `broker` about all `topics` at once. Left to itself the client would ask the controller, and wait for one that it
    /// cannot reach, although every broker knows.
    pub(super) fn ask<C: ConsumerContext>(
        consumer: &BaseConsumer<C>,
        topics: &BTreeSet<&str>,
        broker: i32,
        timeout: Duration,
    ) -> Option<Self> {
        let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let client = consumer.client().native_ptr();
        // SAFETY: client and names are valid for the calls; what is created here is destroyed before returning, except for the
        // queue, which is destroyed on drop.
        unsafe {
            let queue = NonNull::new(sys::rd_kafka_queue_new(client))?;
            let collection =
                sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            let options = sys::rd_kafka_AdminOptions_new(
                client,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            );
            sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
            sys::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
            sys::rd_kafka_DescribeTopics(client, collection, options, queue.as_ptr());
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_TopicCollection_destroy(collection);
            Some(Self(queue))
        }
    }

    /// Waits up to `wait` for the answer; `None` while there is none. It comes once, at the latest as the client's time-out.
    pub(super) fn answer(&self, wait: Duration) -> Option<Result<Described, RDKafkaErrorCode>> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid until `drop`; an event that it gives is ours and destroyed once.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.0.as_ptr(), wait_ms);
            if event.is_null() {
                return None;
            }
            let described = described(event);
            sys::rd_kafka_event_destroy(event);
            Some(described)
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: created by `rd_kafka_queue_new`, destroyed once. An answer that comes later is dropped by the client.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// `event` must be a valid event.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> Result<Described, RDKafkaErrorCode> {
    let mut found = HashMap::new();
    let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: the event is valid and owns everything reached from it.
    unsafe {
        let overall = sys::rd_kafka_event_error(event);
        if overall != none {
            return Err(overall.into());
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(found);
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for at in 0..count {
            let topic = *topics.add(at);
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic));
            let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
            let told = if error == none { Ok(description(topic)) } else { Err(error.into()) };
            found.insert(name.to_string_lossy().into_owned(), told);
        }
    }
    Ok(found)
}

/// # Safety
/// `topic` must be a valid description without an error.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> TopicDescription {
    let mut partitions = 0;
    // SAFETY: the description is valid.
    unsafe {
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = topic_id(sys::rd_kafka_TopicDescription_topic_id(topic));
        TopicDescription { id, partitions: i32::try_from(partitions).unwrap_or(i32::MAX) }
    }
}

/// # Safety
/// `id` must be null or valid.
unsafe fn topic_id(id: *const sys::rd_kafka_Uuid_t) -> Option<Arc<str>> {
    if id.is_null() {
        return None;
    }
    // SAFETY: the id is valid, and so is the text as long as the id is.
    unsafe {
        let halves =
            (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id));
        let text = sys::rd_kafka_Uuid_base64str(id);
        (halves != (0, 0) && !text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into())
    }
}
