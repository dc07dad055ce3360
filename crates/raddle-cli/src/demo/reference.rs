//! The blur once more as a plain loop on the host, written without looking at
//! the kernel: what the kernel's result is compared with.

use crate::kernels::Rgb;

/// Blurs along rows, then along columns.
#[must_use]
pub fn blur(picture: &[Rgb], width: usize, taps: &[f32]) -> Vec<Rgb> {
    let height = picture.len() / width;
    let mut along_rows = vec![Rgb::default(); picture.len()];
    for y in 0..height {
        for x in 0..width {
            along_rows[y * width + x] = weigh(taps, x, width, |x| picture[y * width + x]);
        }
    }
    let mut blurred = vec![Rgb::default(); picture.len()];
    for y in 0..height {
        for x in 0..width {
            blurred[y * width + x] = weigh(taps, y, height, |y| along_rows[y * width + x]);
        }
    }
    blurred
}

/// The weighted sum of the pixels around `at`, with the border repeated.
fn weigh(taps: &[f32], at: usize, size: usize, pixel: impl Fn(usize) -> Rgb) -> Rgb {
    let radius = taps.len() as isize / 2;
    let mut sum = [0.0_f32; 3];
    for (k, weight) in taps.iter().enumerate() {
        let wanted = at as isize + k as isize - radius;
        let inside = wanted.clamp(0, size as isize - 1) as usize;
        let Rgb { r, g, b } = pixel(inside);
        for (sum, part) in sum.iter_mut().zip([r, g, b]) {
            *sum += weight * part;
        }
    }
    let [r, g, b] = sum;
    Rgb { r, g, b }
}

/// The weights of a Gaussian with standard deviation `sigma`, adding up to 1.
#[must_use]
pub fn gaussian(sigma: f32) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil() as i32;
    let raw: Vec<f32> =
        (-radius..=radius).map(|k| (-0.5 * (k as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = raw.iter().sum();
    raw.into_iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(v: f32) -> Rgb {
        Rgb { r: v, g: v, b: v }
    }

    #[test]
    fn a_point_spreads_and_the_border_repeats() {
        let mut picture = vec![grey(0.0); 9];
        picture[4] = grey(1.0);
        let blurred = blur(&picture, 3, &[0.25, 0.5, 0.25]);
        let parts: Vec<f32> = blurred.iter().map(|pixel| pixel.g).collect();
        assert_eq!(parts, [0.0625, 0.125, 0.0625, 0.125, 0.25, 0.125, 0.0625, 0.125, 0.0625]);
        let flat = blur(&[grey(0.5); 6], 2, &[0.25, 0.5, 0.25]);
        assert_eq!(flat, vec![grey(0.5); 6]);
    }

    #[test]
    fn gaussian_weights_are_symmetric_and_add_up_to_one() {
        let taps = gaussian(2.0);
        assert_eq!(taps.len(), 13);
        assert!((taps.iter().sum::<f32>() - 1.0).abs() < 1.0e-6);
        assert!(taps.iter().zip(taps.iter().rev()).all(|(a, b)| a == b));
    }
}
