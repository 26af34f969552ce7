//! A schema that is read when the server starts: nothing is compiled, messages are checked by their descriptors.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use tagwire::bytes::Bytes;
use tagwire::schema::Invalid;
use tagwire::{Access, Delivery, Fingerprint, MessageInfo, Rules, Schema, Sender, Tag, Target};
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::model::{self, Origin};

use crate::constraints::Constrained;

/// Why a schema cannot be served; each text names the place and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The files cannot be read, or break a rule.
    #[error(transparent)]
    Read(#[from] tagwire_codegen::Error),
    /// The compiler's own descriptors cannot be read.
    #[error("internal: {0}")]
    Descriptor(#[from] prost_reflect::DescriptorError),
}

/// The schema of a folder of `.proto` files, or of one file and what it imports. It relays and checks as a compiled
/// one does; a check costs more, since a message is decoded by its descriptor.
///
/// # Errors
/// The schema cannot be read, or breaks a rule; with file, line and fix.
pub fn read_schema(path: &Path) -> Result<Schema, SchemaError> {
    let model = tagwire_codegen::read(&[path])?;
    let pool = model.descriptor_pool()?;
    let constraints = Arc::new(Constrained::of(&model));
    let tagged = model.tagged(Origin::Game).into_iter();
    let messages = tagged.filter_map(|(tag, message, rules)| {
        let descriptor = pool.get_message_by_name(&message.full_name)?;
        let constraints = Arc::clone(&constraints);
        Some(MessageInfo {
            tag: Tag(tag),
            full_name: Cow::Owned(message.full_name.clone()),
            rules: self::rules(rules),
            request: model.is_request(&message.full_name),
            check: Arc::new(move |payload| check(&descriptor, &constraints, payload)),
        })
    });
    let fingerprint = Fingerprint(fingerprint(&model));
    let schema = Schema::new(fingerprint, Bytes::from(model.descriptor_set()), messages.collect());
    Ok(schema.documented(Bytes::from(model.documented_set())))
}

fn check(descriptor: &MessageDescriptor, constraints: &Constrained, payload: &[u8]) -> Result<(), Invalid> {
    Ok(constraints.check(&DynamicMessage::decode(descriptor.clone(), payload)?)?)
}

/// The names are those of the enums in `tagwire/v1/options.proto`; what is not written has the first value.
fn rules(rules: &model::Rules) -> Rules {
    Rules {
        from: match rules.from.as_deref() {
            Some("SERVER") => Sender::Server,
            Some("BOTH") => Sender::Both,
            _ => Sender::Client,
        },
        to: match rules.to.as_str() {
            "ROOM" => Target::Room,
            "ROOM_ALL" => Target::RoomAll,
            _ => Target::Handler,
        },
        access: match rules.access.as_str() {
            "GUEST" => Access::Guest,
            "OPERATOR" => Access::Operator,
            _ => Access::Player,
        },
        delivery: match rules.delivery.as_str() {
            "LATEST" => Delivery::Latest,
            "UNRELIABLE" => Delivery::Unreliable,
            _ => Delivery::Ordered,
        },
        max_bytes: (rules.max_bytes != 0).then_some(rules.max_bytes),
        max_rate: rules.rate_per_second().ok().flatten(),
    }
}
