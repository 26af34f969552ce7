//! Whether a client's schema fits ours. Fingerprints that are known cost nothing; another client is asked for its
//! schema, which is compared away from the threads of the network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::verdict;
use tagwire::{Fingerprint, Schema};
use tagwire_codegen::check::check;
use tagwire_codegen::diff::{self, Verdict};
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::load::load_descriptors;
use tagwire_codegen::model::Model;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::SchemaPolicy;

/// Schemas whose comparison is remembered.
const REMEMBERED: usize = 64;
/// Schemas that are compared at the same time.
const COMPARED_AT_ONCE: usize = 2;

/// What a comparison came to. Shared by all clients of that schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) verdict: verdict::Value,
    /// Every difference, those that break something first.
    pub(crate) differences: Vec<String>,
    /// How many of them break something.
    pub(crate) breaking: usize,
}

/// Whether a client's schema lets it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    Admitted(verdict::Value),
    Mismatch(Arc<Compared>),
}

/// What is known of a client's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Judged(Judged),
    /// Nothing; it has to be asked for.
    Unknown([u8; 16]),
}

/// Why an offered schema is not even compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("the schema that was offered is refused: {0}")]
    Refused(String),
    #[error("the schema that was offered is not the one of the fingerprint")]
    Fingerprint,
    #[error("internal: the comparison ended early")]
    Ended,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    ours: Fingerprint,
    policy: SchemaPolicy,
    /// The last used one first.
    remembered: Mutex<VecDeque<([u8; 16], Arc<Compared>)>>,
    descriptors: Bytes,
    /// Our schema as it is compared; made when the first other one comes.
    model: Arc<OnceLock<Result<Model, String>>>,
    slots: Arc<Semaphore>,
}

impl Exchange {
    pub(crate) fn new(schema: &Schema, policy: SchemaPolicy) -> Self {
        Exchange {
            ours: schema.fingerprint(),
            policy,
            remembered: Mutex::default(),
            descriptors: schema.descriptors().clone(),
            model: Arc::default(),
            slots: Arc::new(Semaphore::new(COMPARED_AT_ONCE)),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<([u8; 16], Arc<Compared>)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fingerprint says by itself. A client without one has no schema that could contradict ours.
    pub(crate) fn known(&self, theirs: &[u8]) -> Known {
        let Ok(theirs) = <[u8; 16]>::try_from(theirs) else {
            let differences = vec!["the client does not say what its schema is".to_string()];
            let compared = Compared { verdict: verdict::Value::NotCompared, differences, breaking: 0 };
            return Known::Judged(match self.policy {
                SchemaPolicy::Exact => Judged::Mismatch(Arc::new(compared)),
                _ => Judged::Admitted(verdict::Value::NotCompared),
            });
        };
        if theirs == self.ours.0 {
            return Known::Judged(Judged::Admitted(verdict::Value::Same));
        }
        if self.policy == SchemaPolicy::Off {
            return Known::Judged(Judged::Admitted(verdict::Value::NotCompared));
        }
        let mut remembered = self.remembered();
        let place = remembered.iter().position(|(fingerprint, _)| *fingerprint == theirs);
        let Some(found) = place.and_then(|place| remembered.remove(place)) else {
            return Known::Unknown(theirs);
        };
        remembered.push_front(found.clone());
        Known::Judged(self.judge(found.1))
    }

    fn judge(&self, compared: Arc<Compared>) -> Judged {
        match compared.verdict {
            verdict::Value::Same => Judged::Admitted(compared.verdict),
            verdict::Value::Compatible if self.policy != SchemaPolicy::Exact => {
                Judged::Admitted(compared.verdict)
            }
            _ => Judged::Mismatch(compared),
        }
    }

    /// Compares what a client offered, and remembers the result.
    pub(crate) async fn compare(&self, claimed: [u8; 16], offered: Bytes) -> Result<Judged, OfferError> {
        let (descriptors, model) = (self.descriptors.clone(), Arc::clone(&self.model));
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| OfferError::Ended)?;
        let compared = spawn_blocking(move || {
            // Held until the work is done, even where nobody waits for it any more.
            let _slot = slot;
            let ours =
                model.get_or_init(|| load_descriptors(&descriptors).map_err(|error| error.to_string()));
            compare(claimed, &offered, ours)
        });
        let compared = Arc::new(compared.await.map_err(|_| OfferError::Ended)??);
        self.remember(claimed, Arc::clone(&compared));
        Ok(self.judge(compared))
    }

    fn remember(&self, theirs: [u8; 16], compared: Arc<Compared>) {
        let mut remembered = self.remembered();
        remembered.retain(|(fingerprint, _)| *fingerprint != theirs);
        remembered.push_front((theirs, compared));
        remembered.truncate(REMEMBERED);
    }
}

fn compare(claimed: [u8; 16], offered: &[u8], ours: &Result<Model, String>) -> Result<Compared, OfferError> {
    let refused = |error: &dyn ToString| OfferError::Refused(error.to_string());
    let theirs = load_descriptors(offered).map_err(|error| refused(&error))?;
    check(&theirs).map_err(|error| refused(&error))?;
    if fingerprint(&theirs) != claimed {
        return Err(OfferError::Fingerprint);
    }
    let ours = ours.as_ref().map_err(|error| refused(error))?;
    let comparison = diff::compare(&theirs, ours);
    Ok(Compared {
        verdict: match comparison.verdict {
            Verdict::Same => verdict::Value::Same,
            Verdict::Compatible => verdict::Value::Compatible,
            Verdict::Breaking => verdict::Value::Breaking,
        },
        breaking: comparison.differences.iter().filter(|one| one.breaks.is_some()).count(),
        differences: comparison.differences.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(verdict: verdict::Value) -> Known {
        Known::Judged(Judged::Admitted(verdict))
    }

    fn exchange(policy: SchemaPolicy) -> Exchange {
        Exchange::new(&tagwire::pb::schema(), policy)
    }

    #[test]
    fn a_fingerprint_is_judged_by_the_policy() {
        use SchemaPolicy::{Compatible, Exact, Off};
        use verdict::Value::{NotCompared, Same};
        let ours = tagwire::pb::schema().fingerprint().0;
        for policy in [Compatible, Exact, Off] {
            assert_eq!(exchange(policy).known(&ours), admitted(Same));
        }
        assert_eq!(exchange(Off).known(&[1; 16]), admitted(NotCompared));
        assert_eq!(exchange(Exact).known(&[1; 16]), Known::Unknown([1; 16]));
        assert_eq!(exchange(Compatible).known(&[]), admitted(NotCompared));
        assert!(matches!(exchange(Exact).known(&[]), Known::Judged(Judged::Mismatch(_))));
    }

    #[test]
    fn what_was_compared_is_remembered_as_long_as_it_is_used() {
        let compared = |verdict| Arc::new(Compared { verdict, differences: vec![], breaking: 0 });
        let exchange = exchange(SchemaPolicy::Compatible);
        let id = |i: usize| [i as u8; 16];
        for i in 1..=REMEMBERED {
            exchange.remember(id(i), compared(verdict::Value::Compatible));
        }
        assert_eq!(exchange.known(&id(1)), admitted(verdict::Value::Compatible));
        exchange.remember(id(100), compared(verdict::Value::Breaking));
        assert!(matches!(exchange.known(&id(100)), Known::Judged(Judged::Mismatch(_))));
        assert_eq!(exchange.known(&id(1)), admitted(verdict::Value::Compatible), "it was used");
        assert_eq!(exchange.known(&id(2)), Known::Unknown(id(2)), "the one not used for longest");
    }
}
