//! Pooling and changes of layout.

use raddle::prelude::*;
use raddle_kernels::image::{self, Pool, PoolOf};

use crate::{Random, devices};

#[test]
fn windows_give_their_largest_and_mean() {
    let plain = Pool {
        images: 2,
        size: [7, 6],
        channels: 16,
        output: [4, 3],
        window: [3, 3],
        stride: [2, 2],
        padding: [1, 1, 1, 0],
        dilation: [1, 1],
        of: PoolOf::Max,
    };
    let ends_late = Pool { output: [4, 4], padding: [1, 1, 1, 1], ..plain };
    let dilated = Pool { dilation: [2, 2], stride: [1, 1], output: [5, 3], ..plain };
    for pool in [plain, ends_late, dilated] {
        for of in [PoolOf::Max, PoolOf::Mean, PoolOf::MeanWithPadding] {
            check(&Pool { of, ..pool });
        }
    }
}

fn check(pool: &Pool) {
    let [rows, columns] = pool.size;
    let input = Random(7).elements(pool.images * rows * columns * pool.channels);
    let expected = |at: usize| {
        let (pixel, channel) = (at / pool.channels, at % pool.channels);
        let (line, x) = (pixel / pool.output[1], pixel % pool.output[1]);
        let (image, y) = (line / pool.output[0], line % pool.output[0]);
        let (mut largest, mut sum, mut count) = (f32::NEG_INFINITY, 0.0, 0);
        for i in 0..pool.window[0] {
            for j in 0..pool.window[1] {
                let row = y * pool.stride[0] + i * pool.dilation[0];
                let column = x * pool.stride[1] + j * pool.dilation[1];
                let (row, column) =
                    (row.wrapping_sub(pool.padding[0]), column.wrapping_sub(pool.padding[1]));
                if row < rows && column < columns {
                    let element =
                        input[((image * rows + row) * columns + column) * pool.channels + channel];
                    largest = largest.max(element);
                    sum += element;
                    count += 1;
                } else if pool.of == PoolOf::MeanWithPadding {
                    let behind = |place: usize, size: usize, end: usize| {
                        place.cast_signed() >= (size + end).cast_signed()
                    };
                    let is_behind = behind(row, rows, pool.padding[2])
                        || behind(column, columns, pool.padding[3]);
                    count += usize::from(!is_behind);
                }
            }
        }
        if pool.of == PoolOf::Max { largest } else { sum / count.max(1) as f32 }
    };
    for device in devices() {
        let stream = device.stream().unwrap();
        let elements: Vec<f16> = input.iter().map(|&x| f16::from_f32(x)).collect();
        let on_device = stream.upload(&elements).unwrap();
        let found = image::pool(&stream, pool, on_device.as_slice()).unwrap().to_vec().unwrap();
        for (at, found) in found.iter().enumerate() {
            let expected = f16::from_f32(expected(at)).to_f32();
            let error = (found.to_f32() - expected).abs();
            assert!(error <= 1e-3, "{device} {pool:?} at {at}: {found:?}, expected {expected}");
        }
    }
}

#[test]
fn means_of_images() {
    for (images, pixels, channels) in [(3, 49, 64), (1, 5, 128), (2, 100, 8)] {
        let input = Random(9).elements(images * pixels * channels);
        for device in devices() {
            let stream = device.stream().unwrap();
            let elements: Vec<f16> = input.iter().map(|&x| f16::from_f32(x)).collect();
            let elements = stream.upload(&elements).unwrap();
            let found =
                image::mean(&stream, images, pixels, channels, elements.as_slice()).unwrap();
            for (at, found) in found.to_vec().unwrap().iter().enumerate() {
                let (image, channel) = (at / channels, at % channels);
                let element = |pixel: usize| input[(image * pixels + pixel) * channels + channel];
                let mean = (0..pixels).map(element).sum::<f32>() / pixels as f32;
                assert!(
                    (found.to_f32() - mean).abs() <= 1e-3,
                    "{device}: {found:?}, expected {mean}"
                );
            }
        }
    }
}

#[test]
fn layouts_there_and_back() {
    for (images, channels, pixels, pitch) in [(2, 3, 35, 4), (2, 3, 35, 8), (1, 20, 12, 24)] {
        let input = Random(11).elements(images * channels * pixels);
        for device in devices() {
            let stream = device.stream().unwrap();
            let first = stream.upload(&input).unwrap();
            let last = image::to_channels_last::<f32, f16>(
                &stream,
                images,
                channels,
                pixels,
                pitch,
                first.as_slice(),
            );
            let last = last.unwrap();
            for (at, element) in last.to_vec().unwrap().iter().enumerate() {
                let (pixel, channel) = (at / pitch, at % pitch);
                let (image, pixel) = (pixel / pixels, pixel % pixels);
                let expected = match channel < channels {
                    true => input[(image * channels + channel) * pixels + pixel],
                    false => 0.0,
                };
                assert_eq!(element.to_f32(), expected, "{device} at {at}");
            }
            let back = image::to_channels_first::<f16, f32>(
                &stream,
                images,
                channels,
                pixels,
                pitch,
                last.as_slice(),
            );
            assert_eq!(back.unwrap().to_vec().unwrap(), input, "{device}");
        }
    }
}

#[test]
fn pixels_become_floats_by_their_table() {
    let table: Vec<f32> = (0..image::PIXEL_TABLE_LEN).map(|at| at as f32 / 7.0 - 40.0).collect();
    let (images, pixels) = (3, 35);
    let bytes: Vec<u8> = (0..images * pixels * 3).map(|at| (at * 37 % 256) as u8).collect();
    for device in devices() {
        let stream = device.stream().unwrap();
        let (on_device, table_there) =
            (stream.upload(&bytes).unwrap(), stream.upload(&table).unwrap());
        for is_channels_first in [false, true] {
            // Something behind the pictures, which is left alone.
            let mut out = stream.upload(&vec![9.0f32; bytes.len() + 4]).unwrap();
            let pictures = out.slice_mut(..bytes.len()).unwrap();
            let (table_there, bytes_there) = (table_there.as_slice(), on_device.as_slice());
            let first = is_channels_first;
            image::from_pixels(&stream, pixels, first, table_there, bytes_there, pictures).unwrap();
            let found = out.to_vec().unwrap();
            for (at, &byte) in bytes.iter().enumerate() {
                let (pixel, channel) = (at / 3, at % 3);
                let (picture, pixel) = (pixel / pixels, pixel % pixels);
                let to = if first { (picture * 3 + channel) * pixels + pixel } else { at };
                assert_eq!(found[to], table[channel * 256 + usize::from(byte)], "{device} at {at}");
            }
            assert_eq!(found[bytes.len()..], [9.0; 4], "{device}");
        }
        let mut out = stream.zeros::<f32>(30).unwrap();
        let (table, bytes) = (table_there.as_slice(), on_device.slice(..30).unwrap());
        let error = image::from_pixels(&stream, 4, true, table, bytes, out.as_slice_mut());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("whole pictures of 4 pixels, found 30"), "{error}");
    }
}
