//! One flipped bit, wherever it is.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A flipped bit anywhere in any segment: opens, gives nothing false, tells each loss, keeps the file, and the
    /// next start finds the same.
    #[test]
    fn a_flipped_bit_is_survived_and_told(
        count in 5_u64..80, file in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let state = tempfile::tempdir().expect("a directory");
        let all = {
            let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
            (1..=count).for_each(|number| { append_durably(&journal, &[u8::try_from(number % 251).expect("small"); 120]); });
            entries(&journal, 1)
        };
        prop_assert_eq!(all.len() as u64, count);
        let files = used_files(state.path());
        let path = &files[file.index(files.len())];
        let mut bytes = std::fs::read(path).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        let place = place.index(used);
        bytes[place] ^= 1 << bit;
        std::fs::write(path, &bytes).expect("written");
        let last_batch = path == files.last().expect("some");
        let mut found = None;
        for _ in 0..2 {
            let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens all the same");
            let given = entries(&journal, 1);
            prop_assert!(given.iter().all(|entry| all.contains(entry)), "nothing false");
            let lost: u64 = opened.damage.iter().map(|damage| match damage {
                Damage::Lost { from, through, .. } => (through + 1).saturating_sub(*from),
                Damage::Foreign { .. } => 0,
            }).sum();
            if !last_batch || !opened.damage.is_empty() {
                prop_assert_eq!(given.len() as u64 + lost, count, "each entry is given or told: {:?}", &opened.damage);
            } else {
                prop_assert!(given.len() as u64 + 1 >= count, "only the last batch can pass for torn");
            }
            prop_assert!(found.replace(given.clone()).is_none_or(|before| before == given), "the same twice");
        }
        // Life goes on, and what comes now is kept.
        let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
        let next = append_durably(&journal, b"after");
        prop_assert!(next > opened.last_sequence);
        drop(journal);
        let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
        prop_assert_eq!(entries(&journal, next), vec![(next, b"after".to_vec())]);
    }
}
