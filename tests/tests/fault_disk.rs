//! The fault disk itself, through the kernel: a tool that is wrong would prove nothing.
#![allow(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lockbridge_tests::fault_disk::{Call, Effect, FaultDisk, Image, Place, Rule, Tear, available, is_mounted};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const MIB: u64 = 1024 * 1024;
const TEARS: [Tear; 3] = [Tear::Gone, Tear::Sectors, Tear::InOrder];

fn disk() -> Option<FaultDisk> {
    available("a test of the fault disk").then(|| FaultDisk::mount(Image::default(), 8 * MIB).unwrap())
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// Images of a hundred cuts of each kind.
fn cuts(disk: &FaultDisk) -> Vec<(Tear, Image)> {
    let mut random = StdRng::seed_from_u64(7);
    let seeds = TEARS.iter().flat_map(|tear| std::iter::repeat_n(*tear, 100));
    seeds.map(|tear| (tear, disk.torn(tear, &mut random))).collect()
}

#[test]
fn what_was_synced_survives_every_cut_and_the_rest_may_go() {
    let Some(disk) = disk() else { return };
    let path = disk.path().join("file");
    let file = File::create_new(&path).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    file.sync_data().unwrap();
    sync(&disk.path());
    file.write_all_at(&[2; 4096], 0).unwrap();
    file.write_all_at(&[3; 4096], 4096).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [[2; 4096], [3; 4096]].concat(), "programs see what they wrote");

    let (mut kept, mut torn, mut longer) = (0, 0, 0);
    for (tear, image) in cuts(&disk) {
        let left = image.file("file").expect("a synced name");
        let sectors: Vec<u8> = left.chunks(512).map(|sector| sector[0]).collect();
        assert!(left.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])), "a sector is whole");
        assert!(sectors.iter().take(8).all(|byte| [1, 2].contains(byte)), "{sectors:?}");
        assert!(left.len() == 4096 || tear == Tear::InOrder, "the length is the flushed one: {sectors:?}");
        kept += usize::from(sectors == [1; 8]);
        torn += usize::from(sectors[..8].contains(&1) && sectors[..8].contains(&2));
        longer += usize::from(left.len() > 4096);
    }
    assert!(kept >= 100 && torn > 20 && longer > 10, "{kept} without, {torn} torn, {longer} longer");

    file.sync_all().unwrap();
    for (_, image) in cuts(&disk) {
        assert_eq!(image.file("file").unwrap(), [[2; 4096], [3; 4096]].concat());
    }
}

#[test]
fn names_are_forgotten_until_their_directory_is_synced() {
    let Some(disk) = disk() else { return };
    let (old, new) = (disk.path().join("old"), disk.path().join("new"));
    for path in [&old, &new] {
        let mut file = File::create_new(path).unwrap();
        file.write_all(path.file_name().unwrap().as_encoded_bytes()).unwrap();
        file.sync_all().unwrap();
    }
    let without = cuts(&disk).iter().filter(|(_, image)| image.names("").unwrap().is_empty()).count();
    assert!((100..300).contains(&without), "a synced file without a synced name is lost in {without} of 300 cuts");
    sync(&disk.path());

    fs::rename(&new, &old).unwrap();
    let (mut before, mut after) = (0, 0);
    for (_, image) in cuts(&disk) {
        match (image.file("old").as_deref(), image.file("new").as_deref()) {
            (Some(b"old"), Some(b"new")) => before += 1,
            (Some(b"new"), None) => after += 1,
            other => panic!("neither before nor after the rename: {other:?}"),
        }
    }
    assert!(before >= 100 && after > 20, "{before} before, {after} after");
    sync(&disk.path());
    assert!(cuts(&disk).iter().all(|(_, image)| image.file("new").is_none() && image.file("old").unwrap() == b"new"));

    fs::create_dir(disk.path().join("inner")).unwrap();
    File::create_new(disk.path().join("inner/file")).unwrap().sync_all().unwrap();
    sync(&disk.path().join("inner"));
    let lost = cuts(&disk).iter().filter(|(_, image)| image.names("inner").is_none()).count();
    assert!((100..300).contains(&lost), "a directory without a synced name takes all in it along: {lost} of 300");
}

#[test]
fn an_image_is_mounted_again_and_two_disks_do_not_know_each_other() {
    let Some(mut disk) = disk() else { return };
    let Some(other) = self::disk() else { return };
    fs::write(disk.path().join("file"), "one").unwrap();
    fs::write(other.path().join("file"), "two").unwrap();
    let point = disk.path();
    disk.cut_power();
    assert_eq!(fs::read(point.join("file")).unwrap_err().raw_os_error(), Some(nix::libc::EIO));
    let torn = disk.torn(Tear::Gone, &mut StdRng::seed_from_u64(1));
    let written = disk.written();
    disk.swap(torn).unwrap();
    assert!(!point.join("file").exists());
    disk.swap(written).unwrap();
    assert_eq!(fs::read_to_string(point.join("file")).unwrap(), "one");
    assert_eq!(fs::read_to_string(other.path().join("file")).unwrap(), "two");
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_space_back() {
    let Some(mut disk) = disk() else { return };
    disk.set_capacity(16 * 4096);
    let path = disk.path().join("file");
    let file = File::create_new(&path).unwrap();
    assert_eq!(file.write_at(&vec![1; 20 * 4096], 0).unwrap(), 16 * 4096, "a short write first");
    assert_eq!(file.write_at(&[1; 1], 16 * 4096).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_all_at(&[2; 4096], 0).unwrap();
    let room = nix::sys::statvfs::statvfs(&disk.path()).unwrap();
    assert_eq!((room.blocks(), room.blocks_available(), room.fragment_size()), (16, 0, 4096));
    fs::remove_file(&path).unwrap();
    assert_eq!(disk.free(), 0, "an open file keeps its space");
    drop(file);
    // The kernel tells of the close when it is done with it.
    let begun = std::time::Instant::now();
    while disk.free() < 16 * 4096 {
        assert!(begun.elapsed().as_secs() < 10, "{} bytes free", disk.free());
        std::thread::yield_now();
    }
    let file = File::create_new(&path).unwrap();
    file.write_all_at(&[1; 4 * 4096], 0).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!((disk.free(), file.metadata().unwrap().blocks()), (15 * 4096, 8));
}

#[test]
fn the_nth_call_fails_as_told() {
    let Some(disk) = disk() else { return };
    fs::create_dir(disk.path().join("inner")).unwrap();
    let rule = |calls, skip, effect| Rule { calls, place: Place::Below("inner"), skip, times: 1, effect };
    disk.inject(rule(&[Call::Write], 1, Effect::NoSpace));
    disk.inject(rule(&[Call::Write], 2, Effect::InputOutput));
    disk.inject(rule(&[Call::Write], 3, Effect::Short(700)));
    let elsewhere = File::create_new(disk.path().join("file")).unwrap();
    let file = File::create_new(disk.path().join("inner/file")).unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        elsewhere.write_all_at(&[9; 1000], 0).unwrap();
        seen.push(file.write_at(&[9; 1000], 0).map_err(|error| error.raw_os_error().unwrap()));
    }
    assert_eq!(seen, [Ok(1000), Err(nix::libc::ENOSPC), Err(nix::libc::EIO), Ok(700), Ok(1000)]);
    disk.heal();
    disk.inject(rule(&[Call::Create], 0, Effect::NoSpace));
    assert_eq!(File::create_new(disk.path().join("inner/no")).unwrap_err().kind(), ErrorKind::StorageFull);
    File::create_new(disk.path().join("inner/yes")).unwrap();
}

#[test]
fn a_failed_sync_loses_what_was_in_flight_and_the_next_one_hides_it() {
    let Some(disk) = disk() else { return };
    let file = File::create_new(disk.path().join("file")).unwrap();
    file.write_all_at(&[1; 512], 0).unwrap();
    file.sync_all().unwrap();
    sync(&disk.path());
    disk.inject(Rule { calls: &[Call::Sync], place: Place::Anywhere, skip: 0, times: 1, effect: Effect::InputOutput });
    file.write_all_at(&[2; 512], 0).unwrap();
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(fs::read(disk.path().join("file")).unwrap(), [2; 512], "the page cache has it");
    assert!(cuts(&disk).iter().all(|(_, image)| image.file("file").unwrap() == [1; 512]), "the disk never will");
}

#[test]
fn a_lying_disk_says_done_and_is_not() {
    let Some(disk) = disk() else { return };
    let calls = &[Call::Sync, Call::SyncDirectory];
    disk.inject(Rule { calls, place: Place::Anywhere, skip: 0, times: 2, effect: Effect::Lie });
    let file = File::create_new(disk.path().join("file")).unwrap();
    file.sync_all().unwrap();
    sync(&disk.path());
    assert!(cuts(&disk).iter().any(|(_, image)| image.file("file").is_none()));
    sync(&disk.path());
    assert!(cuts(&disk).iter().all(|(_, image)| image.file("file").is_some()), "the third one was not a lie");
}

#[test]
fn calls_are_numbered_in_order_and_crashes_come_exactly_there() {
    let Some(mut disk) = disk() else { return };
    let script = r#"set -e; cd "$1"; echo one > a; echo two > b; mv a c; rm b"#;
    let run = |disk: &FaultDisk| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(disk.path()).stderr(Stdio::null());
        shell.status().unwrap()
    };
    disk.record();
    assert!(run(&disk).success());
    let recorded = disk.recorded();
    let calls: Vec<(Call, &str)> =
        recorded.iter().map(|operation| (operation.call, operation.path.to_str().unwrap())).collect();
    let expected = [
        (Call::Create, "a"),
        (Call::Write, "a"),
        (Call::Create, "b"),
        (Call::Write, "b"),
        (Call::Rename, "a"),
        (Call::Remove, "b"),
    ];
    assert_eq!(calls, expected);
    for n in 1..=6 {
        for effect in [Effect::KillBefore, Effect::KillAfter, Effect::PowerCut] {
            disk.swap(Image::default()).unwrap();
            disk.inject(Rule::crash(Place::Anywhere, n, effect));
            assert!(!run(&disk).success(), "{effect:?} at {n}");
            let crashed = disk.crashed().borrow().clone().expect("a crash");
            assert_eq!((crashed.call, crashed.path.to_str().unwrap()), expected[usize::try_from(n).unwrap() - 1]);
            let done = n - u64::from(effect == Effect::KillBefore);
            let names = disk.written().names("").unwrap().len();
            assert_eq!(names, [0, 1, 1, 2, 2, 2, 1][usize::try_from(done).unwrap()], "{effect:?} at {n}");
            let frozen = fs::read_dir(disk.path()).is_err();
            assert_eq!(frozen, effect == Effect::PowerCut, "{effect:?}: the disk goes on after a kill only");
        }
    }
}

#[test]
fn locks_of_files_hold() {
    use nix::fcntl::{Flock, FlockArg};
    let Some(disk) = disk() else { return };
    let path = disk.path().join("lock");
    let open = || OpenOptions::new().create(true).truncate(false).write(true).open(&path).unwrap();
    let held = Flock::lock(open(), FlockArg::LockExclusiveNonblock).unwrap();
    assert!(Flock::lock(open(), FlockArg::LockExclusiveNonblock).is_err());
    drop(held);
    Flock::lock(open(), FlockArg::LockExclusiveNonblock).unwrap();
}

#[test]
fn a_file_with_two_names_stays_until_the_last_is_gone() {
    let Some(disk) = disk() else { return };
    let (first, second) = (disk.path().join("first"), disk.path().join("second"));
    fs::write(&first, "one").unwrap();
    fs::hard_link(&first, &second).unwrap();
    assert_eq!(fs::hard_link(&first, &second).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::metadata(&first).unwrap().nlink(), 2);
    fs::remove_file(&first).unwrap();
    assert_eq!((fs::read_to_string(&second).unwrap().as_str(), disk.free()), ("one", 8 * MIB - 4096));
    fs::remove_file(&second).unwrap();
    assert_eq!(disk.written().names("").unwrap().len(), 0);
}

#[test]
fn a_directory_can_be_emptied_while_it_is_read() {
    let Some(disk) = disk() else { return };
    let many = disk.path().join("many");
    fs::create_dir(&many).unwrap();
    for name in 0..300 {
        File::create_new(many.join(format!("a file with a long name {name:05}"))).unwrap();
    }
    fs::remove_dir_all(&many).unwrap();
    assert!(!many.exists());
}

#[test]
fn nothing_stays_behind_after_a_panic_with_files_open() {
    let Some(disk) = disk() else { return };
    let point = disk.path();
    assert!(is_mounted(&point));
    let file = File::create_new(point.join("file")).unwrap();
    let panicked = std::thread::spawn(move || {
        let _disk = disk;
        panic!("a test fails");
    });
    assert!(panicked.join().is_err());
    assert!(!is_mounted(&point) && !point.exists());
    assert!(file.write_at(b"no", 0).is_err());
}
