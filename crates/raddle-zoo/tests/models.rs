//! Every model is a file that loads and runs at several batch sizes, its bytes
//! are the same everywhere, and trained weights land where they belong.

use std::collections::HashMap;

use raddle_onnx::{Model as Loaded, Outline, Tensor, Value};
use raddle_tensor::graph::ValueId;
use raddle_tensor::infer::{self, Expr};
use raddle_tensor::memory_plan;
use raddle_weights::{Array, Weights};
use raddle_zoo::{Error, Head, MODELS, Source, find};

/// FNV-1a over 64-bit words, as a short name for the bytes of a file.
fn hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}

/// All parameters of the model in a file, by name. The files hold what is read
/// here: tensors with dims (1), a type (2), a name (8) and raw bytes (9).
fn parameters(file: &[u8]) -> Weights {
    use raddle_onnx::wire::{Field, Reader};
    let mut weights = Weights::default();
    let mut model = Reader::new(file);
    while let Some((number, field)) = model.next_field().unwrap() {
        if number != 7 {
            continue;
        }
        let mut graph = field.message().unwrap();
        while let Some((number, field)) = graph.next_field().unwrap() {
            if number != 5 {
                continue;
            }
            let (mut shape, mut name, mut bytes, mut is_float) = (vec![], "", &[][..], false);
            let mut tensor = field.message().unwrap();
            while let Some((number, field)) = tensor.next_field().unwrap() {
                match (number, field) {
                    (1, Field::Varint(dim)) => shape.push(dim as usize),
                    (2, field) => is_float = field.int().unwrap() == 1,
                    (8, field) => name = field.text().unwrap(),
                    (9, Field::Bytes(raw, _)) => bytes = raw,
                    _ => {}
                }
            }
            if is_float && !shape.is_empty() {
                let array = Array::new(raddle_onnx::DType::F32, shape, bytes.to_vec()).unwrap();
                weights.arrays.push((name.to_owned(), array));
            }
        }
    }
    weights
}

/// The classes' values for the pictures of a batch.
fn run(model: &Loaded, x: Tensor) -> Vec<f32> {
    let outputs = model.run([("input", Value::Tensor(x))]).unwrap();
    assert_eq!(outputs[0].0, "logits");
    outputs[0].1.as_tensor().unwrap().elements::<f32>().unwrap().to_vec()
}

#[test]
fn files_are_the_same_everywhere() {
    let mlp = |seed| find("mlp").unwrap().build(Source::Seed(seed)).unwrap();
    assert_eq!(hash(&mlp(0)), HASH, "{:#x}", hash(&mlp(0)));
    assert_ne!(mlp(0), mlp(1));
    let lstm = find("lstm").unwrap().build(Source::Seed(0)).unwrap();
    assert_eq!(hash(&lstm), HASH_LSTM, "{:#x}", hash(&lstm));
}

#[test]
fn every_model_is_a_file_that_is_read() {
    // torchvision's counts, and the means and variances that it counts apart.
    let counts = [("resnet18", 11_689_512 + 9_600), ("resnet50", 25_557_032 + 53_120)];
    // resnet34 is resnet18 with more of the same blocks.
    for model in MODELS.iter().filter(|model| model.name != "resnet34") {
        let file = model.build(Source::Seed(0)).unwrap();
        let outline = Outline::read(&file).unwrap();
        assert_eq!((outline.inputs.len(), outline.outputs.len()), (1, 1), "{}", model.name);
        assert!(outline.ops.len() > 4, "{}", model.name);
        check_types_and_memory(model.name, &file);
        if let Some((_, expected)) = counts.iter().find(|(name, _)| *name == model.name) {
            let count: usize = parameters(&file).arrays.iter().map(|(_, array)| array.len()).sum();
            assert_eq!(count, *expected, "{}", model.name);
        }
    }
}

/// Types with an open batch, and an arena as small as can be for some batches.
fn check_types_and_memory(model: &str, file: &[u8]) {
    let loaded = Loaded::from_bytes(file).unwrap();
    let graph = loaded.plan().graph();
    let infos = infer::types(graph, &[]).unwrap();
    let read: Vec<ValueId> = graph.nodes.iter().flat_map(|it| it.reads()).collect();
    for id in read.iter().chain(&graph.outputs) {
        let dims = infos[id.index()].as_ref().and_then(|info| info.dims.as_ref());
        let dims = dims.unwrap_or_else(|| panic!("{model}: {}", graph.name_of(*id)));
        assert!(!dims.iter().any(Expr::is_open), "{model}: {} {dims:?}", graph.name_of(*id));
    }
    let outputs = infos[graph.outputs[0].index()].as_ref().unwrap();
    assert_eq!(outputs.dims.as_ref().unwrap()[0], Expr::symbol("n"), "{model}");
    for batch in [1, 7, 64] {
        // Texts of 33 tokens.
        let symbols = HashMap::from([("n".into(), batch), ("t".into(), 33)]);
        let bytes = |id: ValueId| {
            let info = infos[id.index()].as_ref()?;
            memory_plan::bytes_of(info, &info.shape_with(&symbols)?)
        };
        let requests = memory_plan::requests(graph, bytes).unwrap();
        assert_eq!(requests.open, [], "{model}");
        let plan = memory_plan::plan(&requests.requests, 256);
        let (peak, bound) = (plan.peak_bytes, plan.bound_bytes);
        assert!(peak * 20 <= bound * 21, "{model}: {peak} bytes of {bound}");
    }
}

#[test]
fn a_batch_is_its_pictures_one_by_one() {
    let file = find("mlp").unwrap().build(Source::Seed(3)).unwrap();
    let model = Loaded::from_bytes(&file).unwrap();
    let pixels: Vec<f32> = (0..2 * 784).map(|at| (at % 17) as f32 / 17.0).collect();
    let both = run(&model, Tensor::new(&[2, 784], pixels.clone()).unwrap());
    let single = run(&model, Tensor::new(&[1, 784], pixels[784..].to_vec()).unwrap());
    assert_eq!(both.len(), 20);
    for (a, b) in both[10..].iter().zip(&single) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn trained_weights_are_taken_by_name() {
    let seeded = find("mlp").unwrap().build(Source::Seed(3)).unwrap();
    let mut weights = parameters(&seeded);
    assert_eq!(find("mlp").unwrap().build(Source::Weights(&weights)).unwrap(), seeded);
    // Under a prefix, as wrappers of PyTorch leave them, and with a counter.
    for (name, _) in &mut weights.arrays {
        name.insert_str(0, "module.");
    }
    let counter = Array::from_f32(&[1], &[1.0]).unwrap();
    weights.arrays.push(("module.bn.num_batches_tracked".into(), counter.clone()));
    assert_eq!(find("mlp").unwrap().build(Source::Weights(&weights)).unwrap(), seeded);

    let refuse = |weights: &Weights| find("mlp").unwrap().build(Source::Weights(weights));
    let mut more = weights.clone();
    more.arrays.push(("head.weight".into(), counter));
    let error = refuse(&more).unwrap_err();
    assert!(matches!(error, Error::UnusedParameters { count: 1, .. }), "{error}");
    let mut less = weights.clone();
    less.arrays.retain(|(name, _)| name != "module.fc2.bias");
    let error = refuse(&less).unwrap_err();
    assert!(error.to_string().contains("\"module.fc2.bias\""), "{error}");
    let mut other = weights;
    other.arrays[0].1 = Array::from_f32(&[1], &[1.0]).unwrap();
    let error = refuse(&other).unwrap_err();
    assert!(matches!(error, Error::ParameterShape { .. }), "{error}");
    assert!(matches!(find("resnet19"), Err(Error::UnknownModel { .. })));
}

#[test]
fn a_classifier_of_several_layers_stands_in_for_the_networks_own() {
    const HIDDEN: usize = 8;
    let model = find("mobilenet_v2").unwrap();
    let seeded = model.build(Source::Seed(5)).unwrap();
    let mut weights = parameters(&seeded);
    // The first units of the network's own layer, then a layer that sums them by index.
    for (name, array) in &mut weights.arrays {
        if name.starts_with("classifier.1.") {
            let row = array.shape()[1..].iter().product::<usize>();
            let kept = &array.to_f32().unwrap()[..HIDDEN * row];
            let shape = [&[HIDDEN], &array.shape()[1..]].concat();
            *array = Array::from_f32(&shape, kept).unwrap();
        }
    }
    let factors: Vec<f32> = (1..=HIDDEN).map(|at| at as f32).collect();
    let last = Array::from_f32(&[1, HIDDEN], &factors).unwrap();
    weights.arrays.push(("classifier.3.weight".into(), last));
    weights.arrays.push(("classifier.3.bias".into(), Array::from_f32(&[1], &[0.5]).unwrap()));
    let source = Source::Weights(&weights);
    let pixels: Vec<f32> = (0..3 * 224 * 224).map(|at| (at % 23) as f32 / 23.0 - 0.5).collect();
    let answer = |file: &[u8]| {
        let x = Tensor::new(&[1, 3, 224, 224], pixels.clone()).unwrap();
        run(&Loaded::from_bytes(file).unwrap(), x)
    };
    let units = answer(&seeded);
    for (layers, least) in
        [("dropout,linear,dropout,linear", f32::MIN), ("relu,linear,relu,linear", 0.0)]
    {
        let head = layers.parse().unwrap();
        let found = answer(&model.build_with_head(source, head).unwrap());
        let units = units[..HIDDEN].iter().zip(&factors);
        let expected = 0.5 + units.map(|(unit, factor)| unit.max(least) * factor).sum::<f32>();
        assert_eq!(found.len(), 1);
        assert!(
            (found[0] - expected).abs() < 1e-4 * expected.abs().max(1.0),
            "{layers}: {found:?} {expected}"
        );
    }
    let head = |layers: &str| layers.parse::<Head>();
    assert!(matches!(head("linear,softmax"), Err(Error::HeadLayer { name }) if name == "softmax"));
    assert!(matches!(head("dropout"), Err(Error::HeadWithoutLinear)));
    let linear = || head("linear").unwrap();
    let error = model.build_with_head(Source::Seed(1), linear()).unwrap_err();
    assert!(matches!(error, Error::HeadNeedsWeights), "{error}");
    let mlp = parameters(&find("mlp").unwrap().build(Source::Seed(3)).unwrap());
    let error = find("mlp").unwrap().build_with_head(Source::Weights(&mlp), linear()).unwrap_err();
    assert!(matches!(error, Error::NoHead { name: "mlp" }), "{error}");
}

/// Names of the bytes of two models with seed 0.
const HASH: u64 = 0x30d5_aa6c_26d4_b2bb;
const HASH_LSTM: u64 = 0x7136_c49b_ac65_5ec9;
