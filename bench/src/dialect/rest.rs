//! What a layer has taken out of its packing, and the dialect in it has not taken yet.

use super::{Dialect, Heard};

/// The end of the inner bytes, which is not whole: empty nearly always, so that nothing is copied.
#[derive(Debug, Default)]
pub(super) struct Rest(Vec<u8>);

impl Rest {
    /// Hands on what comes next in the inner stream.
    pub(super) fn feed(
        &mut self,
        inner: &mut dyn Dialect,
        bytes: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        if self.0.is_empty() {
            let taken = inner.take(bytes, out, heard)?;
            self.0.extend_from_slice(&bytes[taken..]);
        } else {
            self.0.extend_from_slice(bytes);
            let taken = inner.take(&self.0, out, heard)?;
            self.0.drain(..taken);
        }
        Ok(())
    }
}
