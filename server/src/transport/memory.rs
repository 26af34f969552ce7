//! A connection within the process: two pipes of bytes, bounded, without sockets or system calls.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

/// What one direction holds at most, bytes.
const CAPACITY: usize = 64 * 1024;

/// One end of a connection within the process; [`Connector::connect`](crate::Connector::connect) gives a client's. Reading and
/// writing are as on a socket: the same bytes, the same ends.
#[derive(Debug)]
pub struct MemoryStream {
    pub(super) read: ReadEnd,
    pub(super) write: WriteEnd,
}

/// Where the bytes of a pipe come out. Dropped: who writes is told that nobody reads.
#[derive(Debug)]
pub(super) struct ReadEnd(Arc<Pipe>);

/// Where they go in. Dropped: the reader comes to the end of the stream.
#[derive(Debug)]
pub(super) struct WriteEnd(Arc<Pipe>);

#[derive(Debug, Default)]
struct Pipe(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more is written.
    closed: bool,
    /// Nobody reads any more.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl ReadEnd {
    /// Reads what is there; nothing: the end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<()> {
        // As a socket does: who always finds something must still give way to others.
        let budget = ready!(coop::poll_proceed(cx));
        let mut state = self.0.state();
        if state.bytes.is_empty() && !state.closed {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        budget.made_progress();
        let (first, second) = state.bytes.as_slices();
        let from_first = first.len().min(into.remaining());
        into.put_slice(&first[..from_first]);
        let from_second = second.len().min(into.remaining());
        into.put_slice(&second[..from_second]);
        state.bytes.drain(..from_first + from_second);
        state.wake_writer();
        Poll::Ready(())
    }
}

impl WriteEnd {
    /// Writes what there is room for.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.unread || state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(CAPACITY - state.bytes.len());
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes.extend(&bytes[..taken]);
        state.wake_reader();
        Ok(taken)
    }

    /// Ready when there is room, or there never will be.
    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state();
        if state.bytes.len() < CAPACITY || state.unread || state.closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says that nothing more comes. False: nobody reads any more.
    pub(super) fn close(&self) -> bool {
        let mut state = self.0.state();
        state.closed = true;
        state.wake_reader();
        !state.unread
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.unread = true;
        state.bytes = VecDeque::new();
        state.wake_writer();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.close();
    }
}

impl MemoryStream {
    /// Both ends of a connection.
    pub(crate) fn pair() -> (MemoryStream, MemoryStream) {
        let (there, back) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let end = |read: &Arc<Pipe>, write: &Arc<Pipe>| MemoryStream {
            read: ReadEnd(Arc::clone(read)),
            write: WriteEnd(Arc::clone(write)),
        };
        (end(&there, &back), end(&back, &there))
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read.poll_read(cx, into).map(Ok)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            match self.write.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.write.poll_writable(cx))
                }
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_is_written_at_one_end_comes_out_at_the_other_however_it_is_cut() {
        let (mut here, mut there) = MemoryStream::pair();
        let sent: Vec<u8> = (0..5 * CAPACITY + 7).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(1013) {
                here.write_all(piece).await.expect("somebody reads");
            }
            here.shutdown().await.expect("memory");
            let mut answer = String::new();
            here.read_to_string(&mut answer).await.expect("memory");
            answer
        });
        let mut received = vec![];
        there.read_to_end(&mut received).await.expect("memory");
        assert!(received == expected);
        there.write_all(b"heard").await.expect("the other direction is open");
        drop(there);
        assert_eq!(writer.await.expect("no panic"), "heard", "what was sent before the end arrives");
    }

    #[tokio::test]
    async fn a_full_pipe_takes_no_more_and_who_waits_is_woken() {
        let (here, mut there) = MemoryStream::pair();
        assert_eq!(here.write.try_write(&vec![1; CAPACITY + 5]).expect("room"), CAPACITY);
        assert_eq!(here.write.try_write(&[1]).map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        let waiting = tokio::spawn(async move {
            std::future::poll_fn(|cx| here.write.poll_writable(cx)).await;
            here.write.try_write(&[2])
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut one = [0];
        there.read_exact(&mut one).await.expect("memory");
        assert_eq!(waiting.await.expect("no panic").expect("room"), 1);
    }

    #[tokio::test]
    async fn who_waits_for_bytes_is_woken_by_the_end() {
        let (mut here, there) = MemoryStream::pair();
        let waiting = tokio::spawn(async move { here.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(there);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
        let read = ended.expect("it is woken").expect("no panic").expect("memory");
        assert_eq!(read, 0);
    }

    #[tokio::test]
    async fn writing_to_nobody_fails() {
        let (here, there) = MemoryStream::pair();
        drop(there);
        assert_eq!(here.write.try_write(&[1]).map_err(|e| e.kind()), Err(io::ErrorKind::BrokenPipe));
        assert!(!here.write.close());
    }
}
