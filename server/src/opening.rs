//! From the first byte of a connection to the first of a login: what is spoken, and what lies around it.

use tagwire::opening::{Opening, sniff};
use tagwire::session::login::MAX_LOGIN_BYTES;
use tracing::{debug, info};

use crate::core::Core;
use crate::http::{Answer, answer};
use crate::transport::{Broken, Peer, Wire};

/// Why no login can come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("it went without a word")]
    Gone,
    #[error("{0:?} is not spoken here")]
    Speaks(Opening),
    #[error("HTTP, answered with a page")]
    Page(Vec<u8>),
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Takes off what lies around the login; gives what came of that already. To be bounded in time by the caller.
pub(crate) async fn open(core: &Core, wire: &mut Wire, peer: Peer) -> Result<Vec<u8>, NotOpened> {
    let mut first = vec![];
    let (mut tls, mut http) = (false, false);
    loop {
        match sniff(&first) {
            Some(Opening::Tagwire) => return Ok(first),
            Some(Opening::Tls) if !tls && !http => {
                let config = core.tls.current().ok_or(NotOpened::Speaks(Opening::Tls))?;
                first = wire.start_tls(config, &first).await?;
                tls = true;
            }
            Some(Opening::Http) if !http => match answer(&first, &core.config.websocket_origins) {
                Answer::More => fill(wire, &mut first).await?,
                Answer::WebSocket { response, head_bytes } => {
                    wire.write_all(&response).await.map_err(Broken::from)?;
                    first = wire.start_websocket(&first[head_bytes..], MAX_LOGIN_BYTES);
                    http = true;
                }
                Answer::Page { response, why } => {
                    match why {
                        Some(why) => info!("HTTP of {peer} is refused: {why}"),
                        None => debug!(%peer, "shown a page"),
                    }
                    return Err(NotOpened::Page(response));
                }
            },
            Some(other) => return Err(NotOpened::Speaks(other)),
            None => fill(wire, &mut first).await?,
        }
    }
}

async fn fill(wire: &mut Wire, first: &mut Vec<u8>) -> Result<(), NotOpened> {
    match (wire.read(first).await?, first.is_empty()) {
        (0, true) => Err(NotOpened::Gone),
        // Its first bytes were all it had to say.
        (0, false) => Err(NotOpened::Speaks(Opening::Unknown)),
        _ => Ok(()),
    }
}
