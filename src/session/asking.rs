//! Asking a server for its schema: a login that wants no session, and the one frame that answers it.

use bytes::Bytes;
use prost::Message as _;

use crate::close::CloseCode;
use crate::frame::{self, Frame, encode_message};
use crate::pb::tagwire::v1::{self, login_part};
use crate::schema::Message;
use crate::session::Fault;
use crate::session::client::Credentials;

/// Why the server does not tell its schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTold {
    /// It says so.
    #[error("{reason} ({code})")]
    Refused {
        /// What kind of refusal it is; of those that may be tried again, say.
        code: CloseCode,
        /// Why, for people. A stranger's text.
        reason: String,
        /// Not again before so many milliseconds. 0: not told.
        retry_after_ms: u32,
        /// Which part of the credentials it is, where that is told.
        refused: login_part::Value,
    },
    /// It has opened a session, since it does not know the question.
    #[error("the server does not know how to tell its schema: it is too old")]
    TooOld,
    /// It does not speak this protocol.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The first frame of a connection on which a server is asked for its schema. `credentials`: empty where the server tells
/// it to anyone. `sdk` and `version` say who asks, for the server's log.
pub fn question(credentials: &Credentials, sdk: &str, version: &str) -> Vec<u8> {
    let login = v1::PlayerLogin {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        token: credentials.token.clone(),
        client: Some(v1::ClientInfo {
            protocol: crate::PROTOCOL_VERSION,
            sdk: sdk.to_string(),
            version: version.to_string(),
            wants_schema: true,
            ..v1::ClientInfo::default()
        }),
        resume: None,
    };
    let mut frame = vec![];
    encode_message(&login, &mut frame);
    frame
}

/// What the decoder of the answer may take: a schema is as large as it is.
pub fn decoder_limits() -> frame::Limits {
    frame::Limits { max_frame_bytes: frame::MAX_FRAME_BYTES, only: None }
}

/// Reads the frame that answers, the first of the connection: an encoded `google.protobuf.FileDescriptorSet`, not looked
/// at yet. `tagwire_codegen::load::load_documented` makes a model of it.
///
/// # Errors
/// The server does not tell it.
pub fn answer(frame: Frame<'_>) -> Result<Bytes, NotTold> {
    let Frame { tag, payload } = frame;
    let malformed = |error| Fault::Malformed { tag, error };
    match tag {
        v1::SchemaOffer::TAG => {
            let payload = Bytes::copy_from_slice(payload);
            Ok(v1::SchemaOffer::decode(payload).map_err(malformed)?.descriptors)
        }
        v1::Disconnect::TAG => {
            let told = v1::Disconnect::decode(payload).map_err(malformed)?;
            Err(NotTold::Refused {
                code: CloseCode(u16::try_from(told.code).unwrap_or(u16::MAX)),
                refused: told.refused(),
                retry_after_ms: told.retry_after_ms,
                reason: told.reason,
            })
        }
        v1::Welcome::TAG | v1::SchemaWanted::TAG => Err(NotTold::TooOld),
        tag => Err(NotTold::Fault(Fault::TooEarly(tag))),
    }
}
