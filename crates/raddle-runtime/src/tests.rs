//! The whole path on the CPU device, with kernels written as `#[kernel]` would
//! write them: bind, check, launch, wait, report, free.

use raddle_device::atomic::{Atomic, AtomicValue, Relaxed, Scope};
use raddle_device::index::{block_x, global_x, thread_x};
use raddle_device::kernel::{Image, Kernel, KernelMeta};
use raddle_device::output::{
    PerBlock, PerBlockTile, PerThread, PerThreadChunks, RawChunks, RawMatrix,
};
use raddle_device::param::{DeviceType, KernelParam, ParamRules, RawSlice};

use crate::{Binder, Buffer, Device, Error, Grid, KernelArg, KernelCall, Slice, SliceMut, Stream};

const fn kernel<P>(name: &'static str, rules: ParamRules, body: unsafe fn(*const u8)) -> Kernel {
    let meta = KernelMeta {
        params_bytes: size_of::<P>() as u32,
        params_align: align_of::<P>() as u32,
        ..KernelMeta::NONE
    };
    Kernel { name, images: PLAIN, meta, rules, body, file: file!(), line: line!() }
}

/// What the build says of a kernel whose threads never wait for each other.
const PLAIN: &[Image] = &[Image { target: "sm_80", ..Image::EMPTY }];

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SaxpyParams {
    a: f32,
    x: RawSlice,
    y: RawSlice,
}

unsafe fn saxpy_body(params: *const u8) {
    // SAFETY: the block holds what `saxpy` bound.
    let (a, x, mut y) = unsafe {
        let params = params.cast::<SaxpyParams>();
        let x = <&'static [f32]>::from_raw(&raw const (*params).x);
        ((*params).a, x, PerThread::<f32>::from_raw(&raw const (*params).y))
    };
    for (i, y) in y.iter_mut() {
        *y += a * x[i];
    }
}

static SAXPY: Kernel = kernel::<SaxpyParams>("test::saxpy", ParamRules::ONE_D, saxpy_body);

pub(crate) fn saxpy<'k>(
    a: impl KernelArg<'k, f32>,
    x: impl KernelArg<'k, &'static [f32]>,
    y: impl KernelArg<'k, PerThread<f32>>,
) -> KernelCall<'k, SaxpyParams> {
    let mut binder = Binder::new(&SAXPY);
    let params =
        SaxpyParams { a: a.bind(&mut binder), x: x.bind(&mut binder), y: y.bind(&mut binder) };
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

unsafe fn fill_blocks_body(params: *const u8) {
    // SAFETY: the block holds what `fill_blocks` bound.
    let mut out = unsafe { PerBlock::<u32, 2>::from_raw(params.cast::<RawChunks>()) };
    for (chunk_index, mut chunk) in out.iter_mut() {
        for (i, pair) in chunk.iter_mut() {
            *pair = [chunk_index as u32 * 1000 + i as u32, thread_x() + 100 * block_x()];
        }
    }
}

static FILL_BLOCKS: Kernel =
    kernel::<RawChunks>("test::fill_blocks", ParamRules::ONE_D, fill_blocks_body);

fn fill_blocks<'k>(out: impl KernelArg<'k, PerBlock<u32, 2>>) -> KernelCall<'k, RawChunks> {
    let mut binder = Binder::new(&FILL_BLOCKS);
    let params = out.bind(&mut binder);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

unsafe fn count_body(params: *const u8) {
    // SAFETY: the block holds what `count` bound.
    let cells = unsafe { <&'static [Atomic<u32>]>::from_raw(params.cast::<RawSlice>()) };
    cells[global_x() % cells.len()].fetch_add(1, Relaxed);
}

static COUNT: Kernel = kernel::<RawSlice>("test::count", ParamRules::NONE, count_body);

pub(crate) fn count<'k>(
    cells: impl KernelArg<'k, &'static [Atomic<u32>]>,
) -> KernelCall<'k, RawSlice> {
    let mut binder = Binder::new(&COUNT);
    let params = cells.bind(&mut binder);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

/// A call of a kernel whose parameters name no memory.
fn bare_call<R: Copy>(kernel: &'static Kernel, params: R) -> KernelCall<'static, R> {
    // SAFETY: none of these kernels has a parameter that was to be bound, or the launch
    // is refused before the kernel runs.
    unsafe { Binder::new(kernel).finish(params) }
}

pub(crate) fn stream() -> Stream {
    Device::cpu().stream().unwrap()
}

#[test]
fn a_kernel_computes_what_it_says() {
    let stream = stream();
    let x: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let x = stream.upload(&x).unwrap();
    let mut y = stream.filled(1000, 1.0f32).unwrap();
    stream.launch(Grid::cover(1000, 128), saxpy(2.0, &x, &mut y)).unwrap().wait().unwrap();
    let y = y.to_vec().unwrap();
    assert!(y.iter().enumerate().all(|(i, &y)| y == 1.0 + 2.0 * i as f32));
}

#[test]
fn parts_of_buffers_are_arguments_too() {
    let stream = stream();
    let x = stream.upload(&[1.0f32; 8]).unwrap();
    let mut y = stream.zeros::<f32>(8).unwrap();
    let part = y.slice_mut(2..5).unwrap();
    stream.launch(Grid::cover(3, 32), saxpy(1.0, x.slice(..3).unwrap(), part)).unwrap();
    let (mut front, back) = y.split_at_mut(4).unwrap();
    stream.launch(Grid::cover(4, 32), saxpy(10.0, &x, back)).unwrap();
    stream.launch(Grid::cover(4, 32), saxpy(5.0, &x, front.reborrow())).unwrap();
    assert_eq!(front.as_slice().to_vec().unwrap(), [5.0, 5.0, 6.0, 6.0]);
    assert_eq!(y.to_vec().unwrap(), [5.0, 5.0, 6.0, 6.0, 11.0, 10.0, 10.0, 10.0]);
    for (start, end) in [(0, 9), (9, 9), (5, 4)] {
        let error = y.slice_mut(start..end).err().unwrap();
        assert!(matches!(error, Error::Range { len: 8, .. }), "{error}");
    }
    assert!(y.slice(8..).unwrap().is_empty());
    assert!(y.slice(..=usize::MAX).is_err());
}

#[test]
fn blocks_own_their_chunks() {
    let stream = stream();
    let mut out = stream.zeros::<u32>(24).unwrap();
    stream.launch(Grid::new(2, 2), fill_blocks(out.chunks_mut(8))).unwrap();
    let out = out.to_vec().unwrap();
    assert_eq!(out[..8], [0, 0, 2, 1, 4, 0, 6, 1]);
    assert_eq!(out[8..16], [1000, 100, 1002, 101, 1004, 100, 1006, 101]);
    assert_eq!(out[16..], [2000, 0, 2002, 1, 2004, 0, 2006, 1]);
}

#[test]
fn chunks_that_do_not_fit_are_refused() {
    let stream = stream();
    let mut out = stream.zeros::<u32>(24).unwrap();
    for chunk_len in [0, 3, 5, 7, 48] {
        let call = fill_blocks(out.chunks_mut(chunk_len));
        let error = stream.launch(Grid::new(1, 1), call).unwrap_err();
        let Error::Chunks { kernel, len: 24, chunk_len: found, vector_len: 2 } = error else {
            panic!("{error}")
        };
        assert_eq!((kernel, found), ("test::fill_blocks", chunk_len));
    }
}

#[test]
fn atomics_are_bound_from_exclusive_borrows() {
    let stream = stream();
    let mut cells = stream.zeros::<u32>(4).unwrap();
    stream.launch(Grid::cover(400, 50), count(&mut cells)).unwrap();
    assert_eq!(cells.to_vec().unwrap(), [100; 4]);
}

unsafe fn number_vectors_body(params: *const u8) {
    // SAFETY: the block holds what `number_vectors` bound.
    let mut out = unsafe { PerThreadChunks::<u32, 4>::from_raw(params.cast::<RawSlice>()) };
    for (i, vector) in out.iter_mut() {
        *vector = [i as u32, global_x() as u32, 1, 2];
    }
}

static NUMBER_VECTORS: Kernel =
    kernel::<RawSlice>("test::number_vectors", ParamRules::ONE_D, number_vectors_body);

fn number_vectors<'k>(
    out: impl KernelArg<'k, PerThreadChunks<u32, 4>>,
) -> KernelCall<'k, RawSlice> {
    let mut binder = Binder::new(&NUMBER_VECTORS);
    let params = out.bind(&mut binder);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

#[test]
fn outputs_of_vectors_want_whole_and_aligned_ones() {
    let stream = stream();
    let mut out = stream.zeros::<u32>(24).unwrap();
    stream.launch(Grid::new(1, 4), number_vectors(&mut out)).unwrap();
    let found = out.to_vec().unwrap();
    assert!(found.chunks(4).enumerate().all(|(i, v)| v[1] == i as u32 % 4 && v[2..] == [1, 2]));
    let error =
        stream.launch(Grid::new(1, 4), number_vectors(out.slice_mut(..6).unwrap())).unwrap_err();
    assert!(matches!(error, Error::Chunks { len: 6, vector_len: 4, .. }), "{error}");
    let error =
        stream.launch(Grid::new(1, 4), number_vectors(out.slice_mut(1..9).unwrap())).unwrap_err();
    assert!(matches!(error, Error::Alignment { expected_bytes: 16, .. }), "{error}");
    stream.launch(Grid::new(1, 4), number_vectors(out.slice_mut(4..12).unwrap())).unwrap();
}

unsafe fn fill_tiles_body(params: *const u8) {
    // SAFETY: the block holds what `fill_tiles` bound.
    let mut out = unsafe { PerBlockTile::<u16, 4, 8, 2>::from_raw(params.cast::<RawMatrix>()) };
    assert!(out.rows() == 6 && out.cols() == 20);
    for mut tile in out.iter_mut() {
        let (first_row, first_col) = (tile.first_row(), tile.first_col());
        for (row, col, pair) in tile.iter_mut() {
            let (row, col) = (first_row + row, first_col + col);
            *pair = [row as u16 * 100 + col as u16, row as u16 * 100 + col as u16 + 1];
        }
    }
}

static FILL_TILES: Kernel =
    kernel::<RawMatrix>("test::fill_tiles", ParamRules::TWO_D, fill_tiles_body);

fn fill_tiles<'k>(
    out: impl KernelArg<'k, PerBlockTile<u16, 4, 8, 2>>,
) -> KernelCall<'k, RawMatrix> {
    let mut binder = Binder::new(&FILL_TILES);
    let params = out.bind(&mut binder);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

#[test]
fn blocks_own_tiles_of_a_matrix() {
    let stream = stream();
    let mut out = stream.filled(6 * 24, 9999u16).unwrap();
    let call = fill_tiles(out.matrix_mut(6, 20).stride(24));
    stream.launch(Grid::new((2, 2), (4, 2)), call).unwrap();
    for (row, line) in out.to_vec().unwrap().chunks(24).enumerate() {
        assert!(line[20..].iter().all(|&gap| gap == 9999), "row {row}");
        assert!(line[..20].iter().enumerate().all(|(c, &x)| x as usize == row * 100 + c), "{row}");
    }
    let mut refuse = |rows, cols, stride, part: &str| {
        let call = fill_tiles(out.matrix_mut(rows, cols).stride(stride));
        let error = stream.launch(Grid::new((1, 1), 32), call).unwrap_err();
        assert!(matches!(error, Error::Matrix { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refuse(6, 20, 18, "rows overlap");
    refuse(6, 19, 24, "multiples");
    refuse(6, 20, 23, "multiples");
    refuse(7, 20, 24, "larger");
    refuse(usize::MAX, 2, usize::MAX - 1, "larger");
    let call = fill_tiles(out.matrix_mut(6, 20).stride(24));
    let error = stream.launch(Grid::new((1, 1, 2), 32), call).unwrap_err();
    assert!(matches!(error, Error::LaunchDimensions { max: 2, .. }), "{error}");
}

#[test]
fn copies_fills_and_writes_arrive() {
    let stream = stream();
    let mut buffer = stream.filled(100_000, [1u64, 2, 3]).unwrap();
    assert!(buffer.to_vec().unwrap().iter().all(|&element| element == [1, 2, 3]));
    let mut half = stream.filled(50_000, [7u64, 8, 9]).unwrap();
    stream.copy(buffer.slice(..50_000).unwrap(), &mut half).unwrap();
    stream.fill(buffer.slice_mut(10..20).unwrap(), [0; 3]).unwrap();
    let ten = [[4u64; 3]; 10];
    stream.write(buffer.slice_mut(..10).unwrap(), &ten).unwrap();
    let found = buffer.to_vec().unwrap();
    assert!(found[..10] == ten && found[10..20] == [[0; 3]; 10] && found[20] == [1, 2, 3]);
    let mut target = vec![[0u64; 3]; 50_000];
    stream.download(&half, &mut target).unwrap();
    assert!(target.iter().all(|&element| element == [1, 2, 3]));
    let error = stream.download(&half, &mut target[1..]).unwrap_err();
    assert!(matches!(error, Error::Length { expected: 50_000, found: 49_999, .. }), "{error}");
    assert!(buffer.copy_from(&ten).is_err());
}

#[test]
fn empty_buffers_and_empty_covers_do_nothing() {
    let stream = stream();
    let x = stream.upload::<f32>(&[]).unwrap();
    let mut y = stream.zeros::<f32>(0).unwrap();
    stream.launch(Grid::cover(0, 256), saxpy(1.0, &x, &mut y)).unwrap();
    stream.launch(Grid::cover(1, 32), saxpy(1.0, &x, &mut y)).unwrap();
    assert_eq!(y.to_vec().unwrap(), []);
    assert_eq!(stream.filled(3, ()).unwrap().to_vec().unwrap(), [(); 3]);
    let error = stream.launch(Grid::new(0, 256), saxpy(1.0, &x, &mut y)).unwrap_err();
    assert!(matches!(error, Error::LaunchLimit { what: "grid x", found: 0, .. }), "{error}");
}

/// The error that a launch of `saxpy` with this grid gives.
fn refusal(grid: Grid) -> Error {
    let stream = stream();
    let (x, mut y) = (stream.zeros(4).unwrap(), stream.zeros(4).unwrap());
    stream.launch(grid, saxpy(1.0, &x, &mut y)).unwrap_err()
}

#[test]
fn launches_outside_the_limits_are_refused_with_what_was_asked() {
    let cases = [
        (Grid::cover(usize::MAX, 1), "grid x", 2_147_483_647, u64::from(u32::MAX)),
        (Grid::new((1, 65_536), 1), "grid y", 65_535, 65_536),
        (Grid::new((1, 1, 70_000), 1), "grid z", 65_535, 70_000),
        (Grid::new(1, 1025), "block x", 1024, 1025),
        (Grid::new(1, (1, 1, 65)), "block z", 64, 65),
        (Grid::new(1, (64, 32)), "threads of a block", 1024, 2048),
        (Grid::cover(9, 0), "block x", 1024, 0),
        (Grid::new(1, 1).shared_bytes(1 << 20), "dynamic shared memory in bytes", 232_448, 1 << 20),
        (Grid::new(32, 1).cluster(32), "blocks of a cluster", 16, 32),
    ];
    for (grid, expected, limit, asked) in cases {
        match refusal(grid) {
            Error::LaunchLimit { kernel: "test::saxpy", what, max, found, .. } => {
                assert_eq!((what, max, found), (expected, limit, asked), "{grid:?}");
            }
            other => panic!("{grid:?}: {other}"),
        }
    }
    let error = refusal(Grid::new(3, 32).cluster(2));
    assert!(matches!(error, Error::ClusterShape { grid: [3, 1, 1], .. }), "{error}");
}

#[test]
fn outputs_by_thread_index_refuse_launches_of_more_dimensions() {
    for grid in [Grid::new((2, 2), 32), Grid::new(2, (32, 2)), Grid::new((1, 1, 2), 32)] {
        let error = refusal(grid);
        assert!(matches!(error, Error::LaunchDimensions { max: 1, .. }), "{error}");
        assert!(error.to_string().contains("at most 1 dimension because"), "{error}");
    }
}

#[test]
fn declared_blocks_and_clusters_are_demanded() {
    static FIXED: Kernel = Kernel {
        meta: KernelMeta {
            params_bytes: 0,
            block: [64, 2, 1],
            cluster: [2, 1, 1],
            ..KernelMeta::NONE
        },
        ..kernel::<()>("test::fixed", ParamRules::NONE, nothing)
    };
    static SMALL: Kernel = Kernel {
        meta: KernelMeta { params_bytes: 0, max_threads: 128, ..KernelMeta::NONE },
        ..kernel::<()>("test::small", ParamRules::NONE, nothing)
    };
    let stream = stream();
    let launch = |kernel, grid| stream.launch(grid, bare_call(kernel, ()));
    launch(&FIXED, Grid::new(4, (64, 2))).unwrap().wait().unwrap();
    let error = launch(&FIXED, Grid::new(4, 128)).unwrap_err();
    assert!(matches!(error, Error::LaunchShape { what: "block", .. }), "{error}");
    let error = launch(&FIXED, Grid::new(3, (64, 2))).unwrap_err();
    assert!(matches!(error, Error::ClusterShape { cluster: [2, 1, 1], .. }), "{error}");
    let error = launch(&FIXED, Grid::new(4, (64, 2)).cluster(4)).unwrap_err();
    assert!(matches!(error, Error::LaunchShape { what: "cluster", .. }), "{error}");
    launch(&SMALL, Grid::new(1, 128)).unwrap();
    let error = launch(&SMALL, Grid::new(1, 129)).unwrap_err();
    assert!(error.to_string().contains("max_threads"), "{error}");
}

unsafe fn nothing(_params: *const u8) {}

#[test]
fn parameters_of_another_build_are_refused() {
    let stream = stream();
    let error = stream.launch(Grid::new(1, 1), bare_call(&SAXPY, 1u64)).unwrap_err();
    assert!(matches!(error, Error::ParamsSize { expected: 40, found: 8, .. }), "{error}");
}

/// A launch of `saxpy` that reads beyond `x` in thread 4 of block 1.
fn launch_panic(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) {
    assert_eq!((x.len(), y.len()), (36, 64));
    stream.launch(Grid::new(2, 32), saxpy(1.0, x, y)).unwrap();
}

fn assert_is_panic(error: &Error) {
    let Error::KernelPanic { kernel, message, file, block, thread, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(*kernel, "test::saxpy");
    assert_eq!(message, "index out of bounds: the len is 36 but the index is 36");
    assert!(file.ends_with("tests.rs"), "{file}");
    assert_eq!((*block, *thread), ([1, 0, 0], [4, 0, 0]));
}

#[test]
fn a_panic_shows_at_the_next_wait_once_and_the_stream_goes_on() {
    let stream = stream();
    let (x, mut y) = (stream.zeros::<f32>(36).unwrap(), stream.zeros::<f32>(64).unwrap());
    launch_panic(&stream, &x, &mut y);
    assert_is_panic(&stream.synchronize().unwrap_err());
    stream.synchronize().unwrap();
    launch_panic(&stream, &x, &mut y);
    assert_is_panic(&y.to_vec().unwrap_err());
    stream.launch(Grid::cover(36, 32), saxpy(1.0, &x, y.slice_mut(..36).unwrap())).unwrap();
    assert_eq!(y.to_vec().unwrap(), [0.0; 64]);
}

#[test]
fn a_panic_reaches_whoever_reads_the_result_on_another_stream() {
    let (first, second, third) = (stream(), stream(), stream());
    let (x, mut y) = (first.zeros::<f32>(36).unwrap(), first.zeros::<f32>(64).unwrap());
    launch_panic(&first, &x, &mut y);
    assert_is_panic(&second.to_vec(&y).unwrap_err());
    third.synchronize().unwrap();
    assert_is_panic(&first.synchronize().unwrap_err());
}

#[test]
fn who_runs_the_same_kernel_or_has_the_queue_later_is_not_told() {
    let device = Device::new_cpu();
    let [first, second] = [(); 2].map(|()| device.stream().unwrap());
    let x = second.zeros::<f32>(36).unwrap();
    let (mut y, mut sound) = (first.zeros::<f32>(64).unwrap(), first.zeros::<f32>(36).unwrap());
    let before = first.launch(Grid::cover(36, 32), saxpy(1.0, &x, &mut sound)).unwrap().done();
    launch_panic(&first, &x, &mut y);
    let same = second.launch(Grid::cover(36, 32), saxpy(1.0, &x, &mut sound)).unwrap();
    // What was used before on the first stream is well; and so is what came before.
    same.wait().unwrap();
    assert_eq!(second.to_vec(&sound).unwrap(), [0.0; 36]);
    before.wait().unwrap();
    // Memory that is handed out anew says nothing of what was done to it.
    drop((first, y));
    let later = device.stream().unwrap();
    let fresh = later.zeros::<f32>(64).unwrap();
    assert_eq!(second.to_vec(&fresh).unwrap(), [0.0; 64]);
    assert_eq!(later.to_vec(&fresh).unwrap(), [0.0; 64]);
    later.synchronize().unwrap();
}

#[test]
fn a_panic_outlives_its_stream_and_reaches_only_those_who_use_the_memory() {
    let device = Device::cpu();
    let x = stream().zeros::<f32>(36).unwrap();
    for leases in 0..3 {
        let first = device.stream().unwrap();
        let mut y = first.zeros::<f32>(64).unwrap();
        launch_panic(&first, &x, &mut y);
        drop(first);
        let others: Vec<Stream> = (0..leases * 8).map(|_| device.stream().unwrap()).collect();
        assert!(others.iter().all(|other| other.synchronize().is_ok()));
        assert_is_panic(&y.to_vec().unwrap_err());
        assert!(others.iter().all(|other| other.synchronize().is_ok()));
    }
}

#[test]
fn faults_that_are_no_panics_are_reported_too() {
    unsafe fn diverge(_params: *const u8) {
        if thread_x() == 0 {
            raddle_device::barrier::barrier();
        }
        if thread_x() == 1 {
            raddle_device::barrier::barrier();
        }
    }
    static DIVERGE: Kernel =
        Kernel { images: &[], ..kernel::<()>("test::diverge", ParamRules::NONE, diverge) };
    let stream = stream();
    stream.launch(Grid::new(1, 64), bare_call(&DIVERGE, ())).unwrap();
    let error = stream.synchronize().unwrap_err();
    let Error::KernelFault { kernel: "test::diverge", fault } = &error else { panic!("{error}") };
    assert!(matches!(**fault, raddle_sim::Fault::DivergentBarrier { .. }), "{fault}");
}

#[test]
fn many_arguments_spill_to_the_heap_and_still_count() {
    let stream = stream();
    let buffers: Vec<Buffer<u8>> = (0..40).map(|_| stream.zeros(1).unwrap()).collect();
    let mut binder = Binder::new(&COUNT);
    for buffer in &buffers {
        let _ = KernelArg::<&'static [u8]>::bind(buffer, &mut binder);
    }
    // SAFETY: the call is only looked at.
    let call = unsafe { binder.finish(()) };
    assert_eq!(call.accesses.iter().count(), 40);
}

#[test]
fn time_is_measured_and_streams_are_pooled() {
    let stream = stream();
    let mut y = stream.zeros::<u32>(1).unwrap();
    let (launched, ms) =
        stream.time(|| stream.launch(Grid::cover(10_000, 256), count(&mut y)).map(|_| ())).unwrap();
    launched.unwrap();
    assert!(ms > 0.0 && ms < 60_000.0, "{ms}");
    assert_eq!(y.to_vec().unwrap(), [10_240]);
    let device = Device::cpu();
    assert_eq!(device.default_stream().unwrap(), device.default_stream().unwrap());
    assert_ne!(device.stream().unwrap(), device.default_stream().unwrap());
    for _ in 0..100_000 {
        device.stream().unwrap();
    }
}

#[test]
fn impossible_sizes_are_errors() {
    let stream = stream();
    let error = stream.zeros::<u64>(usize::MAX / 4).unwrap_err();
    assert!(matches!(error, Error::TooLarge { element_bytes: 8, .. }), "{error}");
    let error = stream.zeros::<u8>(isize::MAX as usize - 4096).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

#[test]
fn streams_on_many_threads_share_buffers() {
    let device = Device::cpu();
    let stream = device.stream().unwrap();
    let x = stream.upload(&vec![1.0f32; 512]).unwrap();
    std::thread::scope(|scope| {
        for factor in 1..=4 {
            let (x, device) = (&x, &device);
            scope.spawn(move || {
                let stream = device.stream().unwrap();
                let mut y = stream.zeros::<f32>(512).unwrap();
                for _ in 0..20 {
                    let call = saxpy(factor as f32, x, &mut y);
                    stream.launch(Grid::cover(512, 64), call).unwrap();
                }
                assert_eq!(y.to_vec().unwrap(), [20.0 * factor as f32; 512]);
            });
        }
    });
}

/// Types that must be usable across threads, and arguments as the macros bind
/// them.
#[test]
fn handles_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Device>();
    check::<Stream>();
    check::<Buffer<f32>>();
    check::<Error>();
    fn arguments<'k, T: AtomicValue + DeviceType, S: Scope>(
        slice: Slice<'k, T>,
        part: SliceMut<'k, T>,
        binder: &mut Binder<'k>,
    ) -> (u64, u64) {
        let read = KernelArg::<*const T>::bind(slice, binder);
        (read, KernelArg::<&'static Atomic<T, S>>::bind(part, binder))
    }
    let stream = stream();
    let (x, mut y) = (stream.zeros::<u32>(2).unwrap(), stream.zeros::<u32>(2).unwrap());
    let mut binder = Binder::new(&COUNT);
    let (read, cell) = arguments::<u32, raddle_device::atomic::DeviceScope>(
        x.slice(1..).unwrap(),
        y.slice_mut(1..).unwrap(),
        &mut binder,
    );
    assert_eq!((read % 256, cell % 256), (4, 4));
}

#[test]
fn foreign_kernels_say_that_they_need_a_gpu() {
    let error = crate::ForeignModule::from_ptx(&Device::cpu(), "").err().unwrap();
    assert!(matches!(error, Error::Declaration { .. }), "{error}");
    assert!(error.to_string().contains("CPU device"), "{error}");
}

/// A child forked after devices were used is told so by every use, at once.
#[cfg(unix)]
#[test]
fn a_forked_child_is_told_and_does_not_hang() {
    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(code: i32) -> !;
    }
    let stream = stream();
    let x = stream.zeros::<f32>(64).unwrap();
    let mut y = stream.zeros::<f32>(64).unwrap();
    // SAFETY: the child only calls what is asked here and ends without unwinding.
    let child = unsafe { fork() };
    assert!(child >= 0);
    if child == 0 {
        let refused = stream.launch(Grid::cover(64, 32), saxpy(1.0, &x, &mut y));
        let is_told = matches!(&refused, Err(error @ Error::Forked { parent })
            if *parent != std::process::id() && error.to_string().contains("fork"));
        let gpu = matches!(Device::cuda(0), Err(Error::Forked { .. }));
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { _exit(if is_told && gpu { 42 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: writes one int.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status >> 8 & 0xff, 42, "the child ended with status {status:#x}");
    stream.launch(Grid::cover(64, 32), saxpy(1.0, &x, &mut y)).unwrap().wait().unwrap();
}
