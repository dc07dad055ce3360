//! Host memory, views and copies on the CPU device, where the whole path runs but
//! for the driver.

use crate::{Device, Error, MemoryAdvice, MemoryKind, MemorySide, Stream};

fn stream() -> Stream {
    Device::new_cpu().stream().unwrap()
}

#[test]
fn pinned_memory_moves_into_copies_and_comes_back() {
    let stream = stream();
    let device = stream.device().clone();
    let mut buffer = stream.zeros::<u32>(1000).unwrap();
    let mut pinned = device.pinned(&[7u32; 1000]).unwrap();
    pinned[999] = 8;
    let back = stream.write_pinned(&mut buffer, pinned).unwrap().wait().unwrap();
    assert_eq!((back.len(), back[999]), (1000, 8));
    let into = device.pinned_zeros::<u32>(10).unwrap();
    let tail = buffer.slice(990..).unwrap();
    let read = stream.read_pinned(tail, into).unwrap().wait().unwrap();
    assert_eq!(read[..], [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]);
    let error = stream.write_pinned(&mut buffer, read).err().unwrap();
    assert!(matches!(error, Error::Length { expected: 1000, found: 10, .. }), "{error}");
    // A handle that is dropped or forgotten takes nothing away from anybody.
    drop(stream.write_pinned(&mut buffer, back).unwrap());
    let last = device.pinned(&[1; 1000]).unwrap();
    // Nobody frees it: that is what the test is about.
    let _forgotten = std::mem::ManuallyDrop::new(stream.write_pinned(&mut buffer, last).unwrap());
    assert_eq!(buffer.to_vec().unwrap(), [1; 1000]);
}

#[test]
fn pieces_of_pinned_memory_land_behind_each_other_and_come_back_in_order() {
    let stream = stream();
    let device = stream.device().clone();
    let mut buffer = stream.filled(12, 99u16).unwrap();
    let pieces = || {
        let pieces = [&[1u16, 2][..], &[], &[3, 4, 5, 6, 7], &[8]];
        Vec::from(pieces.map(|piece| device.pinned(piece).unwrap()))
    };
    let target = buffer.slice_mut(3..11).unwrap();
    let back = stream.write_pinned_vectored(target, pieces()).unwrap().wait().unwrap();
    assert_eq!(back.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [2, 0, 5, 1]);
    assert_eq!(back[2][..], [3, 4, 5, 6, 7]);
    assert_eq!(buffer.to_vec().unwrap(), [99, 99, 99, 1, 2, 3, 4, 5, 6, 7, 8, 99]);
    let error = stream.write_pinned_vectored(&mut buffer, pieces()).err().unwrap();
    assert!(matches!(error, Error::Length { expected: 12, found: 8, .. }), "{error}");
    // Nothing at all is no mistake where nothing is wanted.
    let none = buffer.slice_mut(4..4).unwrap();
    assert!(stream.write_pinned_vectored(none, Vec::new()).unwrap().wait().unwrap().is_empty());
    // Whoever drops the handle takes nothing away from the copies.
    drop(stream.write_pinned_vectored(buffer.slice_mut(..8).unwrap(), pieces()).unwrap());
    assert_eq!(buffer.to_vec().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 99]);
    let elsewhere = Device::new_cpu().stream().unwrap();
    let error = elsewhere.write_pinned_vectored(buffer.slice_mut(..8).unwrap(), pieces());
    assert!(matches!(error.err().unwrap(), Error::WrongDevice { .. }));
}

#[test]
fn pinned_memory_that_was_dropped_is_used_again_and_is_zeroed() {
    let device = Device::new_cpu();
    let first = device.pinned(&[0xffu8; 5000]).unwrap();
    let address = first.as_ptr();
    drop(first);
    let second = device.pinned_zeros::<u8>(4000).unwrap();
    assert_eq!(second.as_ptr(), address);
    assert!(second.iter().all(|&byte| byte == 0));
    device.trim_memory().unwrap();
}

#[test]
fn mapped_and_managed_buffers_are_lent_to_the_host_between_work() {
    let stream = stream();
    let device = stream.device().clone();
    for kind in [MemoryKind::Mapped, MemoryKind::Managed] {
        let mut buffer = match kind {
            MemoryKind::Mapped => device.mapped_zeros::<f32>(100).unwrap(),
            _ => device.managed_zeros::<f32>(100).unwrap(),
        };
        assert_eq!(buffer.kind(), kind);
        buffer.host_mut().unwrap()[3] = 1.5;
        let mut twice = stream.zeros::<f32>(100).unwrap();
        stream.copy(&buffer, &mut twice).unwrap();
        stream.copy(twice.slice(3..4).unwrap(), buffer.slice_mut(..1).unwrap()).unwrap();
        assert_eq!(buffer.host().unwrap()[..4], [1.5, 0.0, 0.0, 1.5]);
    }
    let managed = device.managed_zeros::<u8>(10).unwrap();
    managed.advise(&MemoryAdvice::PreferredLocation(MemorySide::Host)).unwrap();
    stream.prefetch(&managed, &MemorySide::Device(device.clone())).unwrap();
    let mapped = device.mapped_zeros::<u8>(10).unwrap();
    let error = mapped.advise(&MemoryAdvice::ReadMostly).unwrap_err();
    assert_eq!(error.to_string(), "advise: expected managed memory, found mapped memory");
    assert!(device.managed_zeros::<u8>(0).unwrap().host().unwrap().is_empty());
}

#[test]
fn bytes_are_seen_as_other_types_where_they_fit() {
    let stream = stream();
    let mut words = stream.upload(&[0x0403_0201u32, 0x0807_0605]).unwrap();
    let bytes = words.as_slice().reinterpret::<u8>().unwrap();
    assert_eq!(bytes.to_vec().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bytes.reinterpret::<u64>().unwrap().to_vec().unwrap(), [0x0807_0605_0403_0201]);
    let error = bytes.slice(1..5).unwrap().reinterpret::<u32>().err().unwrap();
    assert!(matches!(error, Error::Reinterpret { bytes: 4, .. }), "{error}");
    assert!(bytes.slice(..7).unwrap().reinterpret::<[u8; 2]>().is_err());
    let halves = words.as_slice_mut().reinterpret_mut::<u16>().unwrap();
    stream.fill(halves.slice_mut(1..3).unwrap(), 0xffff).unwrap();
    assert_eq!(words.to_vec().unwrap(), [0xffff_0201, 0x0807_ffff]);
    let (head, tail) = words.split_at(1).unwrap();
    assert_eq!((head.to_vec().unwrap()[0], tail.len()), (0xffff_0201, 1));
}

#[test]
fn regions_of_matrices_are_copied_and_filled_and_nothing_beside_them() {
    let stream = stream();
    let source: Vec<u32> = (0..48).collect();
    let source = stream.upload(&source).unwrap();
    let mut target = stream.filled(70, 99u32).unwrap();
    // Rows 1 and 2, columns 2 to 4 of 6 rows of 8; into rows of 10.
    let part = source.matrix(6, 8).region(1..3, 2..5).unwrap();
    let into = target.matrix_mut(7, 10).region(4..6, 7..).unwrap();
    stream.copy_matrix(part, into).unwrap();
    let mut expected = vec![99u32; 70];
    expected[47..50].copy_from_slice(&[10, 11, 12]);
    expected[57..60].copy_from_slice(&[18, 19, 20]);
    assert_eq!(target.to_vec().unwrap(), expected);
    stream.fill_matrix(target.matrix_mut(7, 10).region(.., ..2).unwrap(), 5).unwrap();
    for row in 0..7 {
        expected[row * 10..row * 10 + 2].fill(5);
    }
    assert_eq!(target.to_vec().unwrap(), expected);
    let wrong = stream.copy_matrix(source.matrix(6, 8), target.matrix_mut(6, 9)).unwrap_err();
    assert!(matches!(wrong, Error::Length { expected: 9, found: 8, .. }), "{wrong}");
    let outside = stream.copy_matrix(source.matrix(7, 8), target.matrix_mut(7, 8)).unwrap_err();
    assert!(matches!(outside, Error::Matrix { kernel: "copy_matrix", .. }), "{outside}");
    assert!(source.matrix(6, 8).region(5..7, ..).is_err());
    stream.fill_matrix(target.matrix_mut(0, 3), 1).unwrap();
}

#[test]
fn elements_move_between_devices() {
    let (here, there) = (stream(), stream());
    assert_ne!(here.device(), there.device());
    let source = here.upload(&[1u8, 2, 3]).unwrap();
    let mut moved = source.to_device(&there).unwrap();
    assert_eq!(moved.device(), there.device());
    assert_eq!(moved.to_vec().unwrap(), [1, 2, 3]);
    there.copy_across(source.slice(1..).unwrap(), moved.slice_mut(..2).unwrap()).unwrap();
    assert_eq!(moved.to_vec().unwrap(), [2, 3, 3]);
    let error = here.copy_across(&source, &mut moved).unwrap_err();
    assert!(matches!(error, Error::WrongDevice { .. }), "{error}");
    let error = here.device().enable_peer_access(there.device()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
