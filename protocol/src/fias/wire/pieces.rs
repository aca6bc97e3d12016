//! A queue of byte strings in one buffer that is used again and again: what passes through allocates nothing once the buffer
//! has grown to the most that ever waits.

use std::collections::VecDeque;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where the first piece that waits begins.
    start: usize,
    /// Where each piece that waits ends.
    ends: VecDeque<usize>,
}

impl Pieces {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Behind all that wait.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(piece);
        self.ends.push_back(self.bytes.len());
    }

    /// The first one. Its bytes stay until the next call of [`push`](Self::push).
    pub(super) fn pop(&mut self) -> Option<&[u8]> {
        let end = self.ends.pop_front()?;
        let start = std::mem::replace(&mut self.start, end);
        self.bytes.get(start..end)
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.start = self.bytes.len();
    }

    /// Bytes that were taken are never more than those that wait, and one piece.
    fn make_room(&mut self) {
        let taken = self.start;
        if taken > 0 && taken >= self.bytes.len().saturating_sub(taken) {
            self.bytes.drain(..taken);
            self.ends.iter_mut().for_each(|end| *end = end.saturating_sub(taken));
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out_whole_and_in_order(steps in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 0..200)) {
            let (mut pieces, mut expected) = (Pieces::default(), VecDeque::new());
            for step in steps {
                if let Some(piece) = step {
                    pieces.push(&piece);
                    expected.push_back(piece);
                } else {
                    prop_assert_eq!(pieces.pop().map(<[u8]>::to_vec), expected.pop_front());
                }
                prop_assert_eq!(pieces.len(), expected.len());
                let waiting: usize = expected.iter().map(Vec::len).sum();
                prop_assert!(pieces.bytes.len() - pieces.start == waiting, "nothing is lost");
            }
        }
    }

    #[test]
    fn a_queue_that_never_becomes_empty_does_not_grow() {
        let mut pieces = Pieces::default();
        pieces.push(&[0; 100]);
        for _ in 0..10_000 {
            pieces.push(&[1; 100]);
            assert_eq!(pieces.pop().map(<[u8]>::len), Some(100));
        }
        assert!(pieces.bytes.capacity() <= 1_000, "{}", pieces.bytes.capacity());
        pieces.clear();
        assert_eq!((pieces.len(), pieces.pop()), (0, None));
        pieces.push(b"x");
        assert_eq!(pieces.pop(), Some(&b"x"[..]));
    }
}
