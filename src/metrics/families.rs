//! Owns every metric name, its kind and its help. Does not own the values.

use super::exposition::{Family, Kind};

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $(pub(super) const $id: Family = Family { name: $name, kind: Kind::$kind, help: $help };)*
    };
}

families! {
    RECORDS = Counter "sluice_records_total", "Records consumed.";
    RECORD_BYTES = Counter "sluice_record_bytes_total", "Bytes of keys and values of consumed records.";
    ROWS = Counter "sluice_rows_total", "Rows in published files.";
    FILES = Counter "sluice_files_total", "Files published.";
    FILE_BYTES = Counter "sluice_file_bytes_total", "Bytes of published files.";
    ROTATIONS = Counter "sluice_rotations_total", "Flushes ended, by the rule that ended them.";
    POISON = Counter "sluice_poison_total", "Poison records, by the stage and kind of their trouble.";
    TOMBSTONES = Counter "sluice_tombstones_total", "Records with a null value.";
    SKIPPED = Counter "sluice_skipped_total", "Records skipped by policy.";
    DEAD_LETTERS = Counter "sluice_dead_letters_total", "Records acknowledged by the dead-letter topic.";
    RETRIES = Counter "sluice_retries_total", "Steps tried again after retriable trouble, by stage.";
    INTENTS_REPLAYED = Counter "sluice_intents_replayed_total",
        "Flushes finished from an intent that an earlier owner left.";
    REBALANCES = Counter "sluice_rebalances_total", "Changes of the partition assignment.";
    COMMIT_SECONDS = Histogram "sluice_commit_seconds", "Time until an offset commit was answered.";
    PUBLISH_SECONDS = Histogram "sluice_publish_seconds",
        "Time from the end of a flush until its files were visible.";
    SEAL_SECONDS = Histogram "sluice_seal_seconds",
        "Time until the files of a flush were durable; for an object store, most of the upload.";
    PUBLISH_STEP_SECONDS = Histogram "sluice_publish_step_seconds", "Time until sealed files were visible.";
    FILE_SIZE = Histogram "sluice_file_size_bytes", "Sizes of published files.";
    COMMITS = Counter "sluice_commits_total", "Offset commits answered, by outcome.";
    ERRORS = Counter "sluice_errors_total", "Failures, by stage and by what must be done about them.";
    DROPS = Counter "sluice_drops_total", "Times everything unsettled of a partition was dropped, to be read again.";
    ADOPTED_FILES = Counter "sluice_adopted_files_total", "Files found there already, with the same content.";
    RESTARTS = Counter "sluice_restarts_total", "Times a failed connector was started again by itself.";
    LAST_PUBLISHED = Gauge "sluice_last_published_timestamp_seconds",
        "When files last became visible, in seconds since the epoch; 0 before the first.";
    STORE_REQUESTS = Counter "sluice_store_requests_total",
        "Requests to the object store, each try, by operation and outcome.";

    STATE = Gauge "sluice_connector_state", "1 for the state the connector is in.";
    IN_TROUBLE = Gauge "sluice_in_trouble", "1 while something of this stage fails and is tried again.";
    SNAPSHOT_AGE = Gauge "sluice_snapshot_age_seconds",
        "Time since the connector last told how it is; grows when it is stuck.";
    ASSIGNED = Gauge "sluice_assigned_partitions", "Partitions assigned to the connector.";
    PAUSED = Gauge "sluice_paused_partitions", "Assigned partitions that are not being consumed for now.";
    BUFFERED_BYTES = Gauge "sluice_buffered_bytes", "Memory held by records and rows that are not yet in a file.";
    IN_FLIGHT_BYTES = Gauge "sluice_in_flight_bytes",
        "Bytes of records handed from the consumer to the tasks and not yet rows.";
    OPEN_ROWS = Gauge "sluice_open_rows", "Rows of open flushes.";
    OLDEST_UNFLUSHED = Gauge "sluice_oldest_unflushed_age_seconds",
        "Age of the oldest open flush; 0 without an open flush.";
    LAG_RECORDS = Gauge "sluice_lag_records", "Offsets between the committed offset and the end of the partition.";
    LAG_SECONDS = Gauge "sluice_lag_seconds",
        "Age of the oldest record that is not yet committed: by its Kafka timestamp where it has been read, else since it was known of.";

    REGISTRY_REQUESTS = Counter "sluice_registry_requests_total", "Requests to the schema registry.";
    REGISTRY_FAILURES = Counter "sluice_registry_failures_total",
        "Requests to the schema registry without a usable answer.";
    REGISTRY_FETCHES = Counter "sluice_registry_fetches_total", "Schemas asked for over the network.";
    REGISTRY_HITS = Counter "sluice_registry_cache_hits_total", "Schemas taken from the cache.";
    REGISTRY_NEGATIVE_HITS = Counter "sluice_registry_negative_hits_total",
        "Schema ids known to be of no use, and not asked for again.";
    REGISTRY_CHANGED = Counter "sluice_registry_changed_schemas_total",
        "Schema ids that came back with another schema than before.";

    MEMORY_BUDGET = Gauge "sluice_memory_budget_bytes", "daemon.memory: what may be buffered.";
    MEMORY_USED = Gauge "sluice_memory_used_bytes", "What is counted against the memory budget.";
    LOG_LINES_DROPPED = Counter "sluice_log_lines_dropped_total", "Log lines that nobody read in time.";
    RELOADS = Counter "sluice_config_reloads_total", "Reloads of the configuration, by result.";
    RELOAD_OK = Gauge "sluice_config_last_reload_successful", "0 while the configuration on disk has been refused.";
    RELOADED_AT = Gauge "sluice_config_loaded_timestamp_seconds",
        "When the configuration in force was loaded, in seconds since the epoch.";

    BUILD_INFO = Gauge "sluice_build_info", "Always 1; the version is a label.";
    START_TIME = Gauge "process_start_time_seconds", "When the process started, in seconds since the epoch.";
    CPU_SECONDS = Counter "process_cpu_seconds_total", "User and system time of the process.";
    RESIDENT_BYTES = Gauge "process_resident_memory_bytes", "Resident memory of the process.";
    OPEN_FILES = Gauge "process_open_fds", "Open file descriptors of the process.";
}
