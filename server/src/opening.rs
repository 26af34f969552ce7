//! From the first byte of a connection to the first of a login: what is spoken, and what lies around it.

use tagwire::frame::EXTENDED_HEADER_BYTES;
use tagwire::opening::{Opening, sniff};
use tagwire::session::login::MAX_LOGIN_BYTES;
use tracing::{debug, info};

use crate::core::Core;
use crate::door::{Full, Place};
use crate::http::{Answer, answer};
use crate::proxy_header::{Header, parse};
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
    #[error("no PROXY header, but its address is one of trusted_proxies: {0}")]
    NoProxyHeader(&'static str),
    #[error("{}", .0.reason())]
    Full(Full),
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// What a connection turned out to be.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What has come of the login.
    pub(crate) first: Vec<u8>,
    /// Who is at the other end, behind a proxy if there is one.
    pub(crate) peer: Peer,
}

/// Takes off what lies around the login. To be bounded in time by the caller.
pub(crate) async fn open(
    core: &Core,
    wire: &mut Wire,
    peer: Peer,
    place: &mut Place,
) -> Result<Opened, NotOpened> {
    let mut first = vec![];
    let peer = match peer.ip() {
        Some(address) if core.is_proxy(address) => proxied(core, wire, &mut first, peer, place).await?,
        _ => peer,
    };
    let (mut tls, mut http) = (false, false);
    loop {
        match sniff(&first) {
            Some(Opening::Tagwire) => return Ok(Opened { first, peer }),
            Some(Opening::Tls) if !tls && !http => {
                let config = core.tls.current().ok_or(NotOpened::Speaks(Opening::Tls))?;
                first = wire.start_tls(config, &first).await?;
                tls = true;
            }
            Some(Opening::Http) if !http => match answer(&first, &core.config.websocket_origins) {
                Answer::More => fill(wire, &mut first).await?,
                Answer::WebSocket { response, head_bytes } => {
                    wire.write_all(&response).await.map_err(Broken::from)?;
                    let largest = MAX_LOGIN_BYTES + EXTENDED_HEADER_BYTES;
                    first = wire.start_websocket(&first[head_bytes..], largest);
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

/// Reads the header that a proxy begins with, and no further: who it is for.
async fn proxied(
    core: &Core,
    wire: &mut Wire,
    first: &mut Vec<u8>,
    proxy: Peer,
    place: &mut Place,
) -> Result<Peer, NotOpened> {
    loop {
        match parse(first) {
            Header::Incomplete => fill(wire, first).await?,
            Header::Invalid(expected) => return Err(NotOpened::NoProxyHeader(expected)),
            Header::Complete { len, source } => {
                first.drain(..len);
                // The proxy itself asks whether somebody is here.
                let Some(source) = source else { return Ok(proxy) };
                place.came_from(source.ip(), &core.limits.load()).map_err(NotOpened::Full)?;
                info!("client behind {proxy} is {source}");
                return Ok(Peer::Network(source));
            }
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
