//! How often memory was asked for on this thread. Counted by the allocator of `lockbridge-bench`; elsewhere always 0.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// One more.
pub fn count() {
    // A thread that ends counts no more.
    let _ended = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
}

/// So far.
pub fn so_far() -> u64 {
    COUNT.try_with(Cell::get).unwrap_or(0)
}
