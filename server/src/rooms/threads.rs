//! The threads that run the code of rooms. They are not those that carry connections: however long the code of a game
//! computes, pings, answers and other rooms without code go on.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// Begun with the first room that has code.
#[derive(Debug)]
pub(super) struct Threads {
    count: usize,
    runtime: Mutex<Option<Runtime>>,
}

impl Threads {
    pub(super) fn new(count: usize) -> Self {
        Threads { count, runtime: Mutex::default() }
    }

    pub(super) fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if runtime.is_none() {
            let threads = Builder::new_multi_thread()
                .worker_threads(self.count)
                .thread_name("rooms")
                .enable_time()
                .build()?;
            *runtime = Some(threads);
        }
        runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(|| io::ErrorKind::Other.into())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Code that does not come to an end must not keep the program from it.
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}
