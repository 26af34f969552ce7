//! A peer does not choose our memory: what a decoder takes grows with the bytes that came, never with a header.

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tagwire::frame::{Decoder, Limits};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most memory taken while a decoder reads `chunks`, bytes.
fn peak(limits: Limits, chunks: &[Vec<u8>]) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut decoder = Decoder::new(limits);
    for chunk in chunks {
        let mut input = chunk.as_slice();
        while let Ok(Some(_)) = decoder.next(&mut input) {}
    }
    MEMORY.peak_usage().saturating_sub(before)
}

// One test, for the peak is that of the whole process.
#[test]
fn memory_is_bounded_by_what_arrived_and_by_the_limit() {
    let limits = Limits { max_frame_bytes: 16 * 1024 * 1024, only: None };
    let header = vec![0xff, 0, 0, 2, 0x01, 0, 0, 0];
    let announced = peak(limits, std::slice::from_ref(&header));
    assert!(announced <= 64, "16 MiB announced, {announced} bytes taken");

    // Dripping: doubling on the way, never more than twice what came.
    let mut drip = vec![header];
    drip.extend(std::iter::repeat_n(vec![0], 100_000));
    let dripped = peak(limits, &drip);
    assert!(dripped <= 3 * 100_008, "100,008 bytes came, {dripped} taken");

    let limits = Limits { max_frame_bytes: 300, only: None };
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let bytes = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), 0..50);
    runner
        .run(&bytes, |chunks| {
            let taken = peak(limits, &chunks);
            prop_assert!(taken <= 3 * 308 + 512, "{} bytes taken under a limit of 300", taken);
            Ok(())
        })
        .expect("bounded");
}
