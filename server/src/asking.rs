//! The schema for who asks for it, to make stubs of it, instead of a session.

use std::sync::OnceLock;

use tagwire::Schema;
use tagwire::bytes::Bytes;
use tagwire::frame::{MAX_FRAME_BYTES, encode_message};
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{SchemaAccess, SchemaComments};

/// So many are answered at the same time: a schema may be large, and who asks may read slowly.
const ANSWERED_AT_ONCE: usize = 32;

/// Why nobody can be told the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untellable {
    #[error("this server has no descriptors of its schema")]
    Missing,
    #[error("the schema is larger than a frame may be")]
    TooLarge,
}

#[derive(Debug)]
pub(crate) struct Asking {
    descriptors: Bytes,
    documented: Bytes,
    /// The answer as it is sent, shared by all; made when the first asks.
    frame: OnceLock<Result<Bytes, Untellable>>,
    slots: Semaphore,
}

impl Asking {
    pub(crate) fn new(schema: &Schema) -> Self {
        Asking {
            descriptors: schema.descriptors().clone(),
            documented: schema.documented_descriptors().clone(),
            frame: OnceLock::new(),
            slots: Semaphore::new(ANSWERED_AT_ONCE),
        }
    }

    /// Until it is dropped an answer is on its way. `None`: too many are.
    pub(crate) fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.try_acquire().ok()
    }

    /// The frame that answers, with the comments of the files or without.
    pub(crate) fn frame(&self, comments: bool) -> Result<Bytes, Untellable> {
        self.frame
            .get_or_init(|| {
                if self.descriptors.is_empty() {
                    return Err(Untellable::Missing);
                }
                let with = comments.then(|| encoded(&self.documented)).flatten();
                with.or_else(|| encoded(&self.descriptors)).ok_or(Untellable::TooLarge)
            })
            .clone()
    }
}

/// `None`: it does not fit.
fn encoded(descriptors: &Bytes) -> Option<Bytes> {
    let offer = v1::SchemaOffer { descriptors: descriptors.clone() };
    (offer.encoded_len() <= MAX_FRAME_BYTES).then(|| {
        let mut frame = vec![];
        encode_message(&offer, &mut frame);
        frame.into()
    })
}

impl SchemaAccess {
    /// What `auto` means. `dev_auth`: every name is everybody's.
    pub(crate) fn resolve(self, dev_auth: bool) -> Self {
        match self {
            SchemaAccess::Auto if dev_auth => SchemaAccess::Anyone,
            SchemaAccess::Auto => SchemaAccess::Player,
            said => said,
        }
    }
}

impl SchemaComments {
    /// Whether they are told.
    pub(crate) fn resolve(self, dev_auth: bool) -> bool {
        match self {
            SchemaComments::Auto => dev_auth,
            SchemaComments::Always => true,
            SchemaComments::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagwire::Fingerprint;

    fn schema(descriptors: usize, documented: usize) -> Asking {
        let bytes = |length| Bytes::from(vec![1; length]);
        let schema = Schema::new(Fingerprint([0; 16]), bytes(descriptors), vec![]);
        Asking::new(&schema.documented(bytes(documented)))
    }

    #[test]
    fn what_does_not_fit_is_told_without_comments_or_not_at_all() {
        // The field's own header is five bytes here.
        let most = MAX_FRAME_BYTES - 5;
        let told = |descriptors, documented, comments| {
            schema(descriptors, documented).frame(comments).map(|frame| frame.len() - 8)
        };
        assert_eq!(told(3, most, true), Ok(MAX_FRAME_BYTES));
        assert_eq!(told(300, most + 1, true), Ok(303));
        assert_eq!(told(300, most, false), Ok(303));
        assert_eq!(told(most + 1, most + 1, true), Err(Untellable::TooLarge));
        assert_eq!(told(0, 0, true), Err(Untellable::Missing));
    }
}
