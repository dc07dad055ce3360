//! Products hold against their definition.

use super::*;

/// A number between -1 and 1 for each index.
fn number(at: usize) -> f32 {
    ((at * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0
}

#[test]
fn products_of_all_sizes_agree_with_their_definition() {
    for (rows, depth, [wide, width, height]) in [
        (1, 1, [1, 1, 1]),
        (8, 3, [48, 48, 1]),
        (13, 300, [9, 7, 7]),
        (17, 257, [5, 5, 1]),
        (64, 576, [16, 14, 14]),
        (3, 0, [7, 6, 2]),
    ] {
        let grid = Grid { wide, width, height };
        let a: Vec<f32> = (0..rows * depth).map(number).collect();
        // Lines overlap, as those of a convolution do.
        let starts: Vec<usize> = (0..depth).map(|k| k * 3 % 41).collect();
        let source: Vec<f32> = (0..41 + grid.wide * grid.height).map(|at| number(at + 7)).collect();
        let bias: Vec<f32> = (0..rows).map(|at| number(at + 13)).collect();
        let residual: Vec<f32> = (0..rows * grid.len()).map(|at| number(at + 29)).collect();
        let packed = pack(&a, rows, depth);
        let product = Product {
            packed: &packed,
            rows,
            right: Right::Parts { source: &source, starts: &starts },
            grid,
            bias: Some(&bias),
            column_bias: None,
            residual: Some(&residual),
            activation: Activation::Relu,
        };
        let mut out = vec![f32::NAN; rows * grid.len()];
        run(vec![(product, &mut out)]);
        for (at, &found) in out.iter().enumerate() {
            let (m, n) = (at / grid.len(), at % grid.len());
            let n = n / width * wide + n % width;
            let sum: f64 = (0..depth)
                .map(|k| f64::from(a[m * depth + k]) * f64::from(source[starts[k] + n]))
                .sum();
            let expected = (sum + f64::from(bias[m] + residual[at])).max(0.0);
            // Error of a sum of `depth` products in f32.
            let bound = 1e-7 * (depth as f64 + 4.0);
            assert!((f64::from(found) - expected).abs() <= bound, "{rows} {depth} {wide}");
        }
    }
}

#[test]
fn products_with_packed_lines_agree_with_their_definition() {
    for (rows, depth, columns) in [(1, 1, 1), (3, 300, 40), (13, 16, 33), (31, 129, 24), (7, 5, 17)]
    {
        let a: Vec<f32> = (0..rows * depth).map(number).collect();
        let b: Vec<f32> = (0..depth * columns).map(|at| number(at + 7)).collect();
        let bias: Vec<f32> = (0..columns).map(|at| number(at + 13)).collect();
        let lines = pack_lines(&b, columns);
        assert_eq!(lines.len(), packed_lines_len(depth, columns));
        let packed = pack_now(&a, rows, depth);
        assert_eq!(packed, pack(&a, rows, depth));
        let product = Product {
            packed: &packed,
            rows,
            right: Right::Packed { lines: &lines, depth },
            grid: Grid { wide: columns, width: columns, height: 1 },
            bias: None,
            column_bias: Some(&bias),
            residual: None,
            activation: Activation::Identity,
        };
        let mut out = vec![f32::NAN; rows * columns];
        run(vec![(product, &mut out)]);
        for (at, &found) in out.iter().enumerate() {
            let (m, n) = (at / columns, at % columns);
            let products =
                (0..depth).map(|k| f64::from(a[m * depth + k]) * f64::from(b[k * columns + n]));
            let expected = products.sum::<f64>() + f64::from(bias[n]);
            let bound = 1e-7 * (depth as f64 + 4.0);
            assert!((f64::from(found) - expected).abs() <= bound, "{rows} {depth} {columns}");
        }
    }
}

#[test]
fn products_of_few_rows_agree_with_their_definition() {
    for (rows, depth, columns) in [(1, 1, 1), (1, 37, 40), (2, 5, 33), (3, 300, 16), (9, 16, 70)] {
        let a: Vec<f32> = (0..rows * depth).map(number).collect();
        let b: Vec<f32> = (0..depth * columns).map(|at| number(at + 7)).collect();
        let stride = columns + 3;
        let mut out = vec![7.0; rows * stride];
        let lines = pack_lines(&b, columns);
        FewRows { left: &a, depth, lines: &lines, columns, out: &mut out, stride }.run();
        for (at, &found) in out.iter().enumerate() {
            let (m, n) = (at / stride, at % stride);
            if n >= columns {
                assert_eq!(found, 7.0, "between rows");
                continue;
            }
            let product = |k| f64::from(a[m * depth + k]) * f64::from(b[k * columns + n]);
            let expected: f64 = (0..depth).map(product).sum();
            let bound = 1e-7 * (depth as f64 + 4.0);
            assert!((f64::from(found) - expected).abs() <= bound, "{rows} {depth} {columns}");
        }
    }
}
