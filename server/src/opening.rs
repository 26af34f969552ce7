//! From the first byte of a connection to the first of a login: what is spoken, and what lies around it.

use tagwire::frame::EXTENDED_HEADER_BYTES;
use tagwire::opening::{Opening, sniff};
use tagwire::session::login::MAX_LOGIN_BYTES;
use tracing::{debug, info};

use crate::core::Core;
use crate::door::{Full, Place};
use crate::http::{Answer, Asked, Head, Status, answer};
use crate::proxy_header::{Header, parse};
use crate::transport::{Broken, Peer, Wire};

/// Why no login can come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("it went without a word")]
    Gone,
    #[error("{0:?} is not spoken here")]
    Speaks(Opening),
    #[error("HTTP, answered with {0}")]
    Page(Status, Vec<u8>),
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
    pub(crate) what: What,
    /// Who is at the other end, behind a proxy if there is one.
    pub(crate) peer: Peer,
}

/// What somebody connects for.
#[derive(Debug)]
pub(crate) enum What {
    /// A login, of which so much has come.
    Login(Vec<u8>),
    /// A file for a browser.
    File(Asked),
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
    let files = !core.config.web.is_empty();
    let (mut tls, mut http) = (false, false);
    loop {
        match sniff(&first) {
            Some(Opening::Tagwire) => return Ok(Opened { what: What::Login(first), peer }),
            Some(Opening::Tls) if !tls && !http => {
                let config = core.tls.current().ok_or(NotOpened::Speaks(Opening::Tls))?;
                first = wire.start_tls(config, &first).await?;
                tls = true;
            }
            Some(Opening::Http) if !http => match answer(&first, &core.config.websocket_origins, files) {
                Answer::More => fill(wire, &mut first).await?,
                Answer::WebSocket { response, head_bytes } => {
                    wire.write_all(&response).await.map_err(Broken::from)?;
                    let largest = MAX_LOGIN_BYTES + EXTENDED_HEADER_BYTES;
                    first = wire.start_websocket(&first[head_bytes..], largest);
                    http = true;
                }
                Answer::File(asked) if let Some(full) = place.full => {
                    let page = Head::page(Status::SERVICE_UNAVAILABLE, &full.reason());
                    core.metrics.limited(full.limit());
                    return Err(NotOpened::Page(page.status(), page.encode(asked.is_head)));
                }
                Answer::File(asked) if !wire.kind().is_secure() && !core.admits_plaintext(peer) => {
                    let page = only_by_tls(&asked, core.tls.is_on());
                    return Err(NotOpened::Page(page.status(), page.encode(asked.is_head)));
                }
                Answer::File(asked) => return Ok(Opened { what: What::File(asked), peer }),
                Answer::Page { status, response, why } => {
                    match why {
                        Some(why) => info!("HTTP of {peer} is refused: {why}"),
                        None => debug!(%peer, "shown a page"),
                    }
                    return Err(NotOpened::Page(status, response));
                }
            },
            Some(other) => return Err(NotOpened::Speaks(other)),
            None => fill(wire, &mut first).await?,
        }
    }
}

/// Sends a browser to where nobody between can change what it gets, if that is spoken here: the port is the same.
fn only_by_tls(asked: &Asked, is_spoken: bool) -> Head {
    match &asked.host {
        _ if !is_spoken => {
            let text = "This server asks for TLS (its setting plaintext), and has no certificate.";
            Head::page(Status::FORBIDDEN, text)
        }
        Some(host) => {
            let there = format!("https://{host}{}", asked.with_query(&asked.path));
            Head::page(Status::TEMPORARY_REDIRECT, &format!("It is at {there}")).with("Location", &there)
        }
        None => Head::page(Status::FORBIDDEN, "This server asks for TLS: https://."),
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
