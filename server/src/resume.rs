//! Sessions that are opened again: by whom, and how one connection takes a session from another.

use std::sync::Arc;

use tagwire::pb::tagwire::v1;
use tagwire::session::resume::{ResumeRefused, ResumeToken};
use tracing::error;

use crate::core::Core;
use crate::session::{Handover, Session};

/// A session in the hands of the connection that has opened it.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) session: Arc<Session>,
    pub(crate) handover: Box<Handover>,
    pub(crate) resume: v1::Resume,
}

/// What opens a new session again. `None`: the system has no randomness to give.
pub(crate) fn new_token(core: &Core, session_id: u64, secure: bool) -> Option<ResumeToken> {
    let mut secret = [0; 16];
    match getrandom::fill(&mut secret) {
        Ok(()) => Some(ResumeToken::new(core.process, session_id, secret, secure)),
        Err(error) => {
            error!("a session cannot be resumed, since the system gives no random bytes: {error}");
            None
        }
    }
}

/// Takes a session from the connection that it has, if it has one. Waits until that has let go of it, which it does at
/// once; given up when it is dropped. `secure`: this connection has TLS.
pub(crate) async fn take_over(
    core: &Core,
    resume: v1::Resume,
    secure: bool,
) -> Result<Resumed, ResumeRefused> {
    let (process, id) = ResumeToken::address(&resume.token)?;
    if process != core.process {
        return Err(ResumeRefused::Gone);
    }
    let Some(session) = core.directory.session(id) else {
        return Err(if core.ids.was_given(id) { ResumeRefused::Gone } else { ResumeRefused::Wrong });
    };
    let handover = loop {
        let handed_over = session.handed_over();
        session.cut_for(core.clock.now(), &resume, secure)?;
        if let Some(handover) = session.take_handover() {
            break handover;
        }
        handed_over.await;
    };
    Ok(Resumed { session, handover, resume })
}
