//! The bytes of one file, in shared blocks: a copy of a whole image costs pointers, not data.

use std::fmt;
use std::sync::Arc;

/// Size of a block, in bytes: what a file takes from the capacity is a multiple of it.
pub(super) const BLOCK: usize = 4096;

/// A file's bytes. Blocks never written are holes: they read as zeros and take no space.
#[derive(Clone, Default)]
pub(super) struct Content {
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
    length: u64,
}

impl Content {
    /// Length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Blocks that take space.
    pub(super) fn allocated(&self) -> u64 {
        self.blocks.iter().flatten().count() as u64
    }

    /// Blocks that a write of `bytes` bytes at `offset` would take besides those that are there.
    pub(super) fn missing(&self, offset: u64, bytes: usize) -> u64 {
        pieces(offset, bytes).filter(|piece| self.blocks.get(piece.block).is_none_or(Option::is_none)).count() as u64
    }

    /// Up to `size` bytes at `offset`; fewer only at the end.
    pub(super) fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut read = Vec::with_capacity(size.min(left));
        for piece in pieces(offset, size.min(left)) {
            match self.blocks.get(piece.block) {
                Some(Some(block)) => read.extend_from_slice(&block[piece.begin..piece.end]),
                _ => read.resize(read.len() + piece.end - piece.begin, 0),
            }
        }
        read
    }

    /// Puts `bytes` at `offset`, making the file longer when it must be.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(piece.end - piece.begin);
            rest = later;
            if self.blocks.len() <= piece.block {
                self.blocks.resize(piece.block + 1, None);
            }
            let block = self.blocks[piece.block].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[piece.begin..piece.end].copy_from_slice(now);
        }
        if !bytes.is_empty() {
            self.length = self.length.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the file off, or makes it longer by a hole.
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            let whole = usize::try_from(length.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX);
            self.blocks.truncate(whole);
            let tail = usize::try_from(length % BLOCK as u64).unwrap_or(0);
            // What is beyond the end reads as zeros when the file grows again.
            if tail > 0
                && let Some(Some(block)) = self.blocks.get_mut(whole - 1)
            {
                Arc::make_mut(block)[tail..].fill(0);
            }
        }
        self.length = length;
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Content({} bytes)", self.length)
    }
}

/// A range of bytes within one block.
struct Piece {
    block: usize,
    begin: usize,
    end: usize,
}

fn pieces(offset: u64, bytes: usize) -> impl Iterator<Item = Piece> {
    let (mut at, end) = (offset, offset + bytes as u64);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let begin = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let size = usize::try_from(end - at).unwrap_or(usize::MAX).min(BLOCK - begin);
        let block = usize::try_from(at / BLOCK as u64).unwrap_or(usize::MAX);
        at += size as u64;
        Some(Piece { block, begin, end: begin + size })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_file(changes in prop::collection::vec((0..20_000_u64, 0..9_000_usize, any::<u8>(), any::<bool>()), 1..12)) {
            let (mut content, mut plain) = (Content::default(), Vec::new());
            for (at, size, byte, cut) in changes {
                let end = usize::try_from(at).unwrap();
                if cut {
                    content.set_length(at);
                    plain.resize(end, 0);
                } else {
                    content.write(at, &vec![byte; size]);
                    if size > 0 {
                        plain.resize(plain.len().max(end + size), 0);
                        plain[end..end + size].fill(byte);
                    }
                }
                prop_assert_eq!(content.length(), plain.len() as u64);
                prop_assert_eq!(content.read(0, 40_000), plain.clone());
                prop_assert_eq!(content.read(at, 777), plain.iter().skip(end).take(777).copied().collect::<Vec<u8>>());
                prop_assert_eq!(content.missing(0, 0), 0);
            }
        }
    }

    #[test]
    fn holes_take_no_space_and_copies_are_independent() {
        let mut content = Content::default();
        assert_eq!(content.missing(BLOCK as u64 * 9 + 1, BLOCK), 2);
        content.write(BLOCK as u64 * 9 + 1, &[1; BLOCK]);
        assert_eq!((content.allocated(), content.missing(BLOCK as u64 * 9, 2 * BLOCK)), (2, 0));
        let copy = content.clone();
        content.write(0, b"new");
        assert_eq!((copy.read(0, 3), content.read(0, 3)), (vec![0; 3], b"new".to_vec()));
        content.set_length(1);
        assert_eq!(content.allocated(), 1);
    }
}
