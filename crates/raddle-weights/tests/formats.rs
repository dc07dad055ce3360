//! Files of other programs are read as those programs mean them, what is written
//! is read back, and no damage to a file does more than an error.
//!
//! `fixtures/make.py` says how the files were made.

use std::path::{Path, PathBuf};

use raddle_tensor::{DType, Tensor};
use raddle_weights::npz::Compression;
use raddle_weights::{
    Array, Budget, Error, Format, Place, Result, Weights, npy, npz, safetensors, torch,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixture_bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// Every fixture, sound or not.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let dir = std::fs::read_dir(fixture("")).unwrap();
    let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| !name.ends_with(".py"));
    let mut found: Vec<_> = names.map(|name| (name.clone(), fixture_bytes(&name))).collect();
    found.sort();
    assert!(found.len() >= 15, "the fixtures are there");
    found
}

fn decode(bytes: &[u8]) -> Result<Weights> {
    Weights::decode(bytes, &Place::default(), Budget::for_file(bytes.len()))
}

/// The elements as text, `dtype[shape]: elements`.
fn show(array: &Array) -> String {
    format!("{:?}", Tensor::from(array.clone()))
}

#[track_caller]
fn check_npy(name: &str, expected: &str) {
    let array = npy::read(fixture(name)).unwrap();
    assert_eq!(show(&array), expected, "{name}");
    // What is written is little-endian, row-major and reads back the same.
    let written = npy::encode(&array).unwrap();
    assert_eq!(written.len() % 64, array.bytes().len() % 64, "{name}: aligned");
    assert_eq!(decode(&written).unwrap().arrays, [(String::new(), array)], "{name}");
}

#[test]
fn npy_files_of_all_kinds_are_read() {
    check_npy("f4.npy", "float[2, 3] [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]");
    check_npy("f2_big_fortran.npy", "float16[2, 3] [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]");
    check_npy(
        "c16_big.npy",
        "complex128[2, 3] [[0.0, 0.0], [1.0, -0.5], [2.0, -1.0], [3.0, -1.5], [4.0, -2.0], \
         [5.0, -2.5]]",
    );
    check_npy(
        "i8_3d_fortran.npy",
        "int64[2, 3, 4] [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] …",
    );
    check_npy("bool_scalar.npy", "bool[] [true]");
    check_npy("u2_empty.npy", "uint16[0, 3] []");
    check_npy("i4_v2.npy", "int32[2, 3] [0, 1, 2, 3, 4, 5]");
    check_npy("i4_v3.npy", "int32[2, 3] [0, 1, 2, 3, 4, 5]");
}

#[test]
fn numpys_own_file_and_ours_are_the_same() {
    let array = npy::read(fixture("f4.npy")).unwrap();
    assert_eq!(npy::encode(&array).unwrap(), fixture_bytes("f4.npy"));
}

#[track_caller]
fn check_refused(name: &str, expected: &str) {
    let error = Weights::load(fixture(name)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{name}: {error:?}");
    let text = error.to_string();
    assert!(text.contains(expected) && text.contains(name), "{name}: {text}");
}

#[test]
fn what_would_need_python_is_refused_by_name() {
    check_refused("objects.npy", "Python objects (a pickle, which is never run), type \"|O\"");
    check_refused("text.npy", "text, type \"<U2\"");
    check_refused("records.npy", "an array of records");
    check_refused("evil.pt", "Python's evil.system cannot be read; nothing in a file is ever run");
    check_refused("evil.pth", "Python's evil.system");
}

#[test]
fn npz_archives_are_read_and_written() {
    for (name, count) in [("stored.npz", 2), ("deflated.npz", 3)] {
        let weights = Weights::load(fixture(name)).unwrap();
        assert_eq!(weights.arrays.len(), count, "{name}");
        let weight = weights.get("layer/weight").unwrap();
        assert_eq!(show(weight), "float[2, 3] [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
        assert_eq!(show(weights.get("bias").unwrap()), "int16[2] [-1, 2]");
        for compression in [Compression::Stored, Compression::Deflated] {
            let arrays = weights.arrays.iter().map(|(name, array)| (name.as_str(), array));
            let written = npz::encode(arrays, compression).unwrap();
            assert_eq!(decode(&written).unwrap(), weights, "{name}, {compression:?}");
        }
    }
    let array = Array::from_f32(&[1], &[1.0]).unwrap();
    let twice = npz::encode([("a", &array), ("a", &array)], Compression::Stored);
    assert!(matches!(twice, Err(Error::Name { .. })));
}

#[test]
fn safetensors_are_read_and_written() {
    let weights = Weights::load(fixture("three.safetensors")).unwrap();
    assert_eq!(show(weights.get("w").unwrap()), "float16[2, 3] [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
    assert_eq!(show(weights.get("b").unwrap()), "int64[3] [1, 2, 3]");
    assert_eq!(show(weights.get("flag").unwrap()), "bool[] [true]");
    let metadata = [("format", "np"), ("made", "for tests")];
    assert_eq!(weights.metadata, metadata.map(|(key, value)| (key.into(), value.into())));
    let written = safetensors::encode(&weights).unwrap();
    assert_eq!(decode(&written).unwrap(), weights);
}

#[track_caller]
fn check_safetensors(header: &str, data: &[u8], expected: &str) {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    let error = decode(&file).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let tensor = |shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    check_safetensors(&tensor("[2]", "[1,3]"), &[0; 3], "without gaps");
    check_safetensors(&tensor("[2]", "[0,2]"), &[0; 3], "belong to no tensor");
    check_safetensors(&tensor("[2]", "[0,3]"), &[0; 3], "does not take the 3 bytes");
    check_safetensors(&tensor("[99999999999]", "[0,99999999999]"), &[0; 3], "cut off");
    check_safetensors(&tensor("[4294967296,4294967296]", "[0,0]"), &[], "does not take");
    check_safetensors(&tensor("[-1]", "[0,1]"), &[0], "no list of sizes");
    check_safetensors("{\"a\": 1}", &[], "\"dtype\" is no text");
    check_safetensors("{", &[], "no JSON object");
}

#[test]
fn state_dicts_of_both_kinds_are_read() {
    for (name, format) in [("state.pt", Format::TorchZip), ("state.pth", Format::TorchLegacy)] {
        let bytes = fixture_bytes(name);
        assert_eq!(Format::detect(&bytes, &Place::default()).unwrap(), format);
        let weights = torch::read(fixture(name)).unwrap();
        assert_eq!(Weights::load(fixture(name)).unwrap(), weights);
        let shown: Vec<String> =
            weights.arrays.iter().map(|(name, array)| format!("{name} {}", show(array))).collect();
        let expected = [
            "model.fc.weight float[3, 4] [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, \
             1.125, 1.25, 1.375]",
            "model.fc.weight_t float[4, 3] [0.0, 0.5, 1.0, 0.125, 0.625, 1.125, 0.25, 0.75, 1.25, \
             0.375, 0.875, 1.375]",
            "model.fc.row float[4] [0.5, 0.625, 0.75, 0.875]",
            "model.bn.num_batches_tracked int64[] [7]",
            "model.half float16[2] [0.5, -2.0]",
            "model.brain bfloat16[2] [1.0, -2.5]",
            "model.expanded float[2, 2] [9.0, 9.0, 9.0, 9.0]",
        ];
        assert_eq!(shown, expected, "{name}");
        let metadata = [("epoch", "3"), ("lr", "0.5"), ("name", "small")];
        assert_eq!(weights.metadata, metadata.map(|(key, value)| (key.into(), value.into())));
    }
}

/// A legacy checkpoint whose object is `program`, with one storage of 4 floats if
/// it names one.
fn legacy(program: &[u8]) -> Vec<u8> {
    let mut file = fixture_bytes("state.pth");
    let facts = file.windows(2).position(|bytes| bytes == b"u.").unwrap() + 2;
    file.truncate(facts);
    file.extend_from_slice(program);
    if !program.windows(7).any(|bytes| bytes == b"Storage") {
        file.extend_from_slice(b"].");
        return file;
    }
    file.extend_from_slice(b"]X\x01\x00\x00\x000a.");
    file.extend_from_slice(&4u64.to_le_bytes());
    file.extend_from_slice(&[0; 16]);
    file
}

/// The pickle of one tensor of that storage.
fn tensor_program(offset: &str, size: &str, stride: &str) -> Vec<u8> {
    let storage = "((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\nNtQ";
    format!("ctorch._utils\n_rebuild_tensor_v2\n{storage}I{offset}\n{size}{stride}I00\n}}tR.")
        .into_bytes()
}

#[track_caller]
fn check_legacy(program: &[u8], expected: &str) {
    let error = decode(&legacy(program)).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn tensors_stay_within_their_storage() {
    let sound = decode(&legacy(&tensor_program("1", "(I3\nt", "(I1\nt"))).unwrap();
    assert_eq!(show(&sound.arrays[0].1), "float[3] [0.0, 0.0, 0.0]");
    check_legacy(&tensor_program("2", "(I3\nt", "(I1\nt"), "leaves its storage");
    check_legacy(&tensor_program("0", "(I3\nt", "(I2\nt"), "leaves its storage");
    check_legacy(&tensor_program("-1", "(I3\nt", "(I1\nt"), "does not take");
    check_legacy(&tensor_program("0", "(I3\nt", "(I1\nI1\nt"), "does not take");
    let huge = "(I4294967296\nI4294967296\nI4294967296\nt";
    check_legacy(&tensor_program("0", huge, "(I0\nI0\nI0\nt"), "would take more than");
    let large = "(I1099511627776\nt";
    check_legacy(&tensor_program("0", large, "(I0\nt"), "would take more than");
}

#[test]
fn pickles_that_grow_or_loop_are_refused() {
    // A dict that is its own value.
    check_legacy(b"}q\x00X\x01\x00\x00\x00ah\x00s.", "nested in each other");
    // Dicts that hold the one before twice, 40 levels deep.
    let mut program = b"}q\x00".to_vec();
    for level in 1..=30u8 {
        let entry = [b'h', level - 1];
        program.extend_from_slice(b"}(X\x01\x00\x00\x00a");
        program.extend_from_slice(&entry);
        program.extend_from_slice(b"X\x01\x00\x00\x00b");
        program.extend_from_slice(&entry);
        program.extend_from_slice(&[b'u', b'q', level]);
    }
    program.push(b'.');
    check_legacy(&program, "would take more than");
    // One list copied into dicts again and again.
    let mut program = b"ccollections\nOrderedDict\nq\x00](".to_vec();
    program.extend_from_slice(&b"]\x28K\x01K\x02e".repeat(100));
    program.extend_from_slice(b"eq\x01");
    program.extend_from_slice(&b"h\x00h\x01\x85R".repeat(100));
    program.push(b'.');
    check_legacy(&program, "more pairs than there are");
    check_legacy(b"0.", "more values than there are");
    check_legacy(b"t.", "no mark");
    check_legacy(b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "Python's os.system");
    check_legacy(b"ctorch.nn.modules.conv\nConv2d\n)\x81.", "torch.nn.modules.conv.Conv2d");
}

#[test]
fn a_compressed_bomb_is_an_error() {
    // 1 GiB of zeros in a megabyte, as a deflate stream makes it possible.
    let zeros = Array::new(DType::U8, vec![8 << 20], vec![0; 8 << 20]).unwrap();
    let bomb = npz::encode([("a", &zeros)], Compression::Deflated).unwrap();
    assert!(bomb.len() < 20_000);
    let error = Weights::decode(&bomb, &Place::default(), Budget::of(1 << 20)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes_max: 1_048_576, .. }), "{error}");
    // A stream that is longer than the directory says ends at what it says.
    let mut lying = bomb.clone();
    let size = (zeros.len() as u64 + 128).to_le_bytes();
    while let Some(at) = lying.windows(8).position(|bytes| bytes == size) {
        lying[at..at + 8].copy_from_slice(&1_000u64.to_le_bytes());
    }
    assert!(decode(&lying).unwrap_err().to_string().contains("deflate"));
}

#[test]
fn every_prefix_is_an_error_or_whole() {
    for (name, bytes) in fixtures() {
        for len in 0..bytes.len() {
            let found = decode(&bytes[..len]);
            assert!(found.is_err(), "{name}: {len} of {} bytes are read", bytes.len());
        }
    }
}

#[test]
fn random_damage_gives_arrays_or_errors() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut sound, mut errors) = (0, 0);
    for (_, bytes) in fixtures() {
        for _ in 0..600 {
            let mut damaged = bytes.clone();
            for _ in 0..=next() % 3 {
                let at = (next() % damaged.len() as u64) as usize;
                match next() % 4 {
                    0 => damaged[at] ^= 1 << (next() % 8),
                    1 => damaged[at] = [0, 0xff, 0x7f, 0x80][(next() % 4) as usize],
                    2 => damaged[at] = next() as u8,
                    _ => drop(damaged.remove(at)),
                }
            }
            match decode(&damaged) {
                Ok(weights) => {
                    sound += 1;
                    let total: usize = weights.arrays.iter().map(|(_, a)| a.bytes().len()).sum();
                    assert!(total < 256 << 20);
                }
                Err(error) => {
                    errors += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    assert!(sound > 500 && errors > 500, "{sound} read, {errors} refused");
}

#[test]
fn errors_name_file_entry_and_byte() {
    let error = npy::read(fixture("missing.npy")).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("missing.npy"));
    let mut cut = fixture_bytes("f4.npy");
    cut.pop();
    let error = npy::decode(&cut, &Place::file(Path::new("cut.npy")), &mut Budget::of(1 << 20));
    assert_eq!(
        error.unwrap_err().to_string(),
        "cut.npy, byte 128: 24 bytes expected here, 23 left; the file is cut off or damaged"
    );
    let mut damaged = fixture_bytes("stored.npz");
    let at = damaged.windows(6).position(|bytes| bytes == npy::MAGIC).unwrap();
    damaged[at + 1] ^= 1;
    let error = decode(&damaged).unwrap_err().to_string();
    assert!(error.starts_with("entry \"layer/weight.npy\", byte 0: checksum"), "{error}");
    let error = decode(b"PNG?").unwrap_err().to_string();
    assert!(error.contains("begins like none of .npy, .npz, safetensors, .pt and .pth"), "{error}");
}

#[test]
fn arrays_and_tensors_are_the_same_elements() {
    let tensors = [
        Tensor::new(&[2], vec![1.5f32, -2.0]).unwrap(),
        Tensor::new(&[1, 2], vec![true, false]).unwrap(),
        Tensor::new(&[2], vec![[1.0f64, 2.0], [3.0, 4.0]]).unwrap(),
        Tensor::new(&[3], vec![u64::MAX, 0, 1]).unwrap(),
    ];
    for tensor in tensors {
        let array = Array::try_from(&tensor).unwrap();
        assert_eq!(Tensor::from(array), tensor);
    }
    let text = Tensor::vector(vec![String::from("a")]);
    assert!(matches!(Array::try_from(&text), Err(Error::NoSuchType { .. })));
    let brain = Array::new(DType::BF16, vec![1], vec![0x80, 0x3f]).unwrap();
    assert!(matches!(npy::encode(&brain), Err(Error::NoSuchType { .. })));
    assert_eq!(brain.to_f32(), Some(vec![1.0]));
    assert!(matches!(Array::from_f32(&[3], &[1.0]), Err(Error::ByteCount { .. })));
}
