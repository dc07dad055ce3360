//! Kernels on values of any type: packing, views, order and what is out of range.

use raddle_kernels::dense::{
    self, Class, Dims, Function, Indexing, Operation, Order, Reduce, Reduction, Scalar, Scan, View,
};

use crate::{Random, devices};

fn operation(function: Function) -> Operation {
    let function = function.code();
    Operation { alpha: 0.0, beta: 0.0, function, is_unsigned: 0, scalar: 0, padding: 0 }
}

pub fn pack(elements: &[f32]) -> Vec<u64> {
    let bits = |chunk: &[f32]| {
        let bits = chunk.iter().enumerate().map(|(at, x)| u64::from(x.to_bits()) << (32 * at));
        bits.sum()
    };
    elements.chunks(2).map(bits).collect()
}

pub fn unpack(words: &[u64], len: usize) -> Vec<f32> {
    let bits = words.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]);
    bits.take(len).map(f32::from_bits).collect()
}

#[test]
fn operands_broadcast_and_turn() {
    for device in devices() {
        let stream = device.stream().unwrap();
        for [rows, columns] in [[1, 1], [3, 5], [17, 33], [64, 2]] {
            let mut random = Random(7);
            let (x, y) = (random.elements(rows * columns), random.elements(columns));
            let (dx, dy) = (stream.upload(&pack(&x)).unwrap(), stream.upload(&pack(&y)).unwrap());
            // The output is the left operand turned, plus the right one along its rows.
            let dims = Dims::new(&[columns, rows]).unwrap();
            let turned = View::new(Scalar::F32, 0, &[1, columns as i64]);
            let along = View::new(Scalar::F32, 0, &[1, 0]);
            let words = [dx.as_slice(), dy.as_slice(), dy.as_slice()];
            let of = (operation(Function::Add), Scalar::F32);
            let out =
                dense::pointwise(&stream, Class::F32, of, dims, [turned, along, along], words);
            let found = unpack(&stream.to_vec(&out.unwrap()).unwrap(), rows * columns);
            for (at, found) in found.into_iter().enumerate() {
                let (column, row) = (at / rows, at % rows);
                assert_eq!(found, x[row * columns + column] + y[column], "{device}: {at}");
            }
        }
    }
}

#[test]
fn narrow_elements_share_words() {
    for device in devices() {
        let stream = device.stream().unwrap();
        for len in [0usize, 1, 7, 8, 9, 100] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 37 % 251) as u8).collect();
            let words: Vec<u64> = bytes
                .chunks(8)
                .map(|chunk| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
                .chain([0])
                .collect();
            let input = stream.upload(&words).unwrap();
            let view = View::new(Scalar::I8, 0, &[1]);
            let dims = Dims::new(&[len]).unwrap();
            let words = [input.as_slice(); 3];
            let of = (operation(Function::Neg), Scalar::I8);
            let out = dense::pointwise(&stream, Class::I64, of, dims, [view; 3], words).unwrap();
            let found: Vec<u8> =
                stream.to_vec(&out).unwrap().into_iter().flat_map(u64::to_le_bytes).collect();
            let expected: Vec<u8> = bytes.iter().map(|&byte| byte.wrapping_neg()).collect();
            assert_eq!(&found[..len], &expected[..], "{device}: {len}");
            assert!(found[len..].iter().all(|&byte| byte == 0), "{device}: {len}");
        }
    }
}

#[test]
fn rows_are_reduced_summed_and_ordered() {
    for device in devices() {
        let stream = device.stream().unwrap();
        let (rows, columns) = (5usize, 37usize);
        let x = Random(3).elements(rows * columns);
        let input = stream.upload(&pack(&x)).unwrap();
        let reduce = Reduce {
            reduced: Dims::new(&[columns]).unwrap(),
            kept: View::new(Scalar::F32, 0, &[columns as i64]),
            inner: View::new(Scalar::F32, 0, &[1]),
            reduction: Reduction::Sum.code(),
            is_unsigned: 0,
            scalar: 0,
        };
        let of = (Scalar::F32, Dims::new(&[rows]).unwrap());
        let sums = dense::reduce(&stream, Class::F64, of, reduce, input.as_slice()).unwrap();
        let sums = unpack(&stream.to_vec(&sums).unwrap(), rows);
        let scan = Scan {
            len: columns as u32,
            stride: 1,
            scalar: 0,
            is_product: 0,
            is_exclusive: 0,
            is_reverse: 0,
        };
        let of = (Scalar::F32, (rows * columns) as u32);
        let running = dense::scan(&stream, Class::F64, of, scan, input.as_slice()).unwrap();
        let running = unpack(&stream.to_vec(&running).unwrap(), rows * columns);
        let order = Order {
            len: columns as u32,
            stride: 1,
            scalar: Scalar::F32.code(),
            is_descending: 1,
            is_unsigned: 0,
        };
        let of = ((rows * columns) as u32, 4);
        let places = dense::order(&stream, Class::F64, of, order, input.as_slice()).unwrap();
        let places = stream.to_vec(&places).unwrap();
        for (at, row) in x.chunks(columns).enumerate() {
            // Numbers with few bits: sums are exact.
            assert_eq!(sums[at], row.iter().sum::<f32>(), "{device}: {at}");
            let partial = row.iter().scan(0.0, |sum, x| {
                *sum += x;
                Some(*sum)
            });
            let own = &running[at * columns..(at + 1) * columns];
            assert_eq!(own, partial.collect::<Vec<f32>>(), "{device}: {at}");
            let mut sorted: Vec<u64> = (0..columns as u64).collect();
            sorted.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
            assert_eq!(&places[at * 4..at * 4 + 4], &sorted[..4], "{device}: {at}");
        }
    }
}

#[test]
fn indices_out_of_range_are_errors() {
    for device in devices() {
        let stream = device.stream().unwrap();
        let input = stream.upload(&[1u64, 2, 3]).unwrap();
        for (index, is_good) in [(2i64, true), (-3, true), (3, false), (-4, false)] {
            let indices = stream.upload(&[index as u64]).unwrap();
            let mut lens = [0; dense::RANK_MAX];
            lens[0] = 3;
            let mut strides = [0; dense::RANK_MAX];
            strides[0] = 1;
            let tuples = View::new(Scalar::I64, 0, &[1]);
            let indexing = Indexing { indices: tuples, step: 0, depth: 1, lens, strides };
            let of = (Scalar::I64, Dims::new(&[1]).unwrap());
            let source = View::new(Scalar::I64, 0, &[0]);
            let words = (input.as_slice(), indices.as_slice());
            let found = dense::gather(&stream, of, source, indexing, words.0, words.1)
                .map_err(|error| error.to_string())
                .and_then(|out| stream.to_vec(&out).map_err(|error| error.to_string()));
            match found {
                Ok(found) => assert!(is_good && found == [index.rem_euclid(3) as u64 + 1]),
                Err(why) => assert!(!is_good && why.contains("is out of range for 3"), "{why}"),
            }
        }
    }
}
