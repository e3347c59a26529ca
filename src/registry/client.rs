//! Owns the client's doors: getting a schema by id through the cache, one request at a time for each id, and the probe.
//! Does not own HTTP ([`super::endpoints`]), references ([`super::references`]) or backoff, which is the caller's.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use serde::de::IgnoredAny;
use tracing::warn;

use super::cache::{Fingerprints, SchemaCache, VerdictCache};
use super::counters::{RegistryCounters, RegistryCounts};
use super::endpoints::{AskError, Endpoints, Question};
use super::error::RegistryError;
use super::references::RegisteredSchema;
use super::{apicurio, confluent, glue};
use crate::config::settings::{RegistryApi, RegistrySettings};
use crate::position::SchemaId;

const MAX_CACHED_BYTES: usize = 64 << 20;
const MAX_VERDICTS: usize = 10_000;
const MAX_FINGERPRINTS: usize = 100_000;
/// Abandoned requests are looked for when this many are under way.
const MANY_FLIGHTS: usize = 64;

/// A schema registry client. Clones share connections, cache and counters.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<RegistryState>,
}

struct RegistryState {
    endpoints: Endpoints,
    tuning: Tuning,
    counters: Arc<RegistryCounters>,
    memory: Mutex<Memory>,
}

/// Everything under the one lock, which is never held across an await.
struct Memory {
    schemas: SchemaCache,
    verdicts: VerdictCache,
    fingerprints: Fingerprints,
    /// Requests under way; an entry whose callers have all gone is dead and does nothing.
    flights: HashMap<SchemaId, WeakShared<Flight>>,
}

type Answer = Result<Arc<RegisteredSchema>, RegistryError>;
type Flight = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Waits and limits of the client itself; tests make them smaller.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    /// Between asking every URL and asking every URL again after trouble.
    pub(super) between_rounds: Duration,
    /// Before each further try for what a registry does not know: it may lag behind the one that took it.
    pub(super) for_lag: Vec<Duration>,
    /// How long a verdict about an id stands.
    pub(super) verdicts_stand: Duration,
    /// Schemas kept.
    pub(super) cached_schemas: usize,
    /// Instead of those of the environment, which all tests of a process share.
    #[cfg(test)]
    pub(super) credentials: Option<object_store::aws::AwsCredentialProvider>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            between_rounds: Duration::from_millis(200),
            for_lag: [500, 1_000, 2_000].map(Duration::from_millis).to_vec(),
            verdicts_stand: Duration::from_secs(30),
            cached_schemas: 10_000,
            #[cfg(test)]
            credentials: None,
        }
    }
}

impl Registry {
    /// Makes a client. Reads `ca_file`, sends nothing.
    ///
    /// # Errors
    /// [`RegistryError::Settings`] when the URLs or the CA file cannot work.
    pub fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        Self::with_tuning(settings, Tuning::default())
    }

    pub(super) fn with_tuning(settings: &RegistrySettings, tuning: Tuning) -> Result<Self, RegistryError> {
        let counters = Arc::new(RegistryCounters::default());
        let signer = match (&settings.api, &tuning) {
            #[cfg(test)]
            (RegistryApi::Glue { region }, Tuning { credentials: Some(credentials), .. }) => {
                Some(glue::Signer::with(Arc::clone(credentials), region))
            }
            (RegistryApi::Glue { region }, _) => Some(glue::Signer::new(region)?),
            (RegistryApi::Confluent { .. } | RegistryApi::Apicurio { .. }, _) => None,
        };
        let endpoints = Endpoints::new(settings, tuning.between_rounds, signer, Arc::clone(&counters))?;
        let memory = Mutex::new(Memory {
            schemas: SchemaCache::new(tuning.cached_schemas, MAX_CACHED_BYTES),
            verdicts: VerdictCache::new(MAX_VERDICTS),
            fingerprints: Fingerprints::new(MAX_FINGERPRINTS),
            flights: HashMap::new(),
        });
        Ok(Self { shared: Arc::new(RegistryState { endpoints, tuning, counters, memory }) })
    }

    /// The schema with this id and everything it refers to. Callers who ask for the same id at the same time share
    /// one request; a caller who gives up takes nothing from the others.
    ///
    /// Asks every URL twice at the most before it reports trouble; what a registry does not know it asks for again
    /// for about four seconds. Waiting out an outage is left to the caller.
    ///
    /// # Errors
    /// By what must be done, see [`RegistryError`]. Verdicts about the id are remembered for half a minute, trouble
    /// is not.
    pub async fn schema(&self, id: SchemaId) -> Result<Arc<RegisteredSchema>, RegistryError> {
        let flight = {
            let counters = &self.shared.counters;
            let mut memory = self.shared.memory();
            if let Some(schema) = memory.schemas.get(id) {
                RegistryCounters::add(&counters.hits);
                return Ok(schema);
            }
            if let Some(error) = memory.verdicts.get(id, Instant::now()) {
                RegistryCounters::add(&counters.negative_hits);
                return Err(error);
            }
            self.join_or_start_flight(&mut memory, id)
        };
        flight.await
    }

    /// Asks for something small, with authentication, to see whether a registry is there and lets us in.
    ///
    /// # Errors
    /// See [`RegistryError`]; never one about a schema.
    pub async fn probe(&self) -> Result<(), RegistryError> {
        let endpoints = &self.shared.endpoints;
        let path: &[&str] = match endpoints.api() {
            RegistryApi::Confluent { .. } => &["subjects"],
            RegistryApi::Apicurio { .. } => &["system", "info"],
            RegistryApi::Glue { .. } => {
                return match glue::resolve(endpoints, glue::NOBODYS_ID).await {
                    Ok(_) | Err(RegistryError::UnknownSchema(_)) => Ok(()),
                    Err(error) => Err(error),
                };
            }
        };
        match endpoints.ask_for(&Question::get(path), confluent::json::<IgnoredAny>).await {
            Ok(_) => Ok(()),
            Err(AskError::Failed(error)) => Err(error),
            Err(AskError::NotFound { url, message }) => {
                let reason = format!("no schema registry below this address, check its path ({message})");
                Err(RegistryError::Refused { url, status: 404, reason })
            }
        }
    }

    /// What this client and its clones have done so far.
    #[must_use]
    pub fn counts(&self) -> RegistryCounts {
        self.shared.counters.snapshot()
    }

    fn join_or_start_flight(&self, memory: &mut Memory, id: SchemaId) -> Shared<Flight> {
        if let Some(flight) = memory.flights.get(&id).and_then(WeakShared::upgrade) {
            return flight;
        }
        if memory.flights.len() >= MANY_FLIGHTS {
            memory.flights.retain(|_, flight| flight.upgrade().is_some());
        }
        RegistryCounters::add(&self.shared.counters.fetches);
        let state = Arc::clone(&self.shared);
        let flight: Flight = Box::pin(async move {
            let answer = state.fetch(id).await;
            state.remember(id, answer)
        });
        let flight = flight.shared();
        // `None` only for a future that is done already.
        memory.flights.extend(flight.downgrade().map(|weak| (id, weak)));
        flight
    }
}

impl RegistryState {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, id: SchemaId) -> Result<RegisteredSchema, RegistryError> {
        let mut pauses = self.tuning.for_lag.iter();
        loop {
            match (self.resolve(id).await, pauses.next()) {
                (Err(error), Some(&pause)) if error.may_be_lag() => tokio::time::sleep(pause).await,
                (answer, _) => return answer,
            }
        }
    }

    async fn resolve(&self, id: SchemaId) -> Result<RegisteredSchema, RegistryError> {
        match self.endpoints.api() {
            RegistryApi::Confluent { context } => {
                confluent::resolve(&self.endpoints, id, context.as_deref()).await
            }
            RegistryApi::Apicurio { ids } => apicurio::resolve(&self.endpoints, id, *ids).await,
            RegistryApi::Glue { .. } => glue::resolve(&self.endpoints, id).await,
        }
    }

    /// Ends the flight and keeps what may be kept of its answer.
    fn remember(&self, id: SchemaId, answer: Result<RegisteredSchema, RegistryError>) -> Answer {
        let mut memory = self.memory();
        memory.flights.remove(&id);
        match answer {
            Ok(schema) => {
                let schema = Arc::new(schema);
                if memory.fingerprints.note(&schema) {
                    RegistryCounters::add(&self.counters.changed);
                    warn!(
                        schema_id = %id,
                        "the registry gives another schema for this id than before: was it reset? records written \
                         with the old schema can no longer be told from those with the new one"
                    );
                }
                memory.schemas.insert(Arc::clone(&schema));
                Ok(schema)
            }
            Err(error) => {
                if error.is_about_schema() {
                    let now = Instant::now();
                    memory.verdicts.insert(id, now + self.tuning.verdicts_stand, now, error.clone());
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fault_tests::{client, settings};
    use crate::registry::scripted::{Reply, Scripted};

    #[tokio::test]
    async fn requests_that_ended_or_were_abandoned_are_not_kept() {
        let server = Scripted::start(|_, _| Reply::schema("\"int\""));
        let registry = client(&settings(&[server.url()]));
        for id in 1..=500 {
            assert!(registry.schema(SchemaId::from(id)).now_or_never().is_none(), "nobody answers at once");
        }
        let flights = || registry.shared.memory().flights.len();
        assert!((1..=MANY_FLIGHTS).contains(&flights()), "{}", flights());
        let before = flights();
        registry.schema(SchemaId::Number(500)).await.unwrap();
        assert!(flights() < before, "one has ended");
    }
}
