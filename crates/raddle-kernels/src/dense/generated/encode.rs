//! Expressions as words, for the kernel that runs them step by step.

use raddle::{Grid, Stream};

use super::{Class, Expression, INPUTS_MAX, Kind, Output, Places, STEPS_MAX};
use crate::Result;
use crate::dense::{SMALL_BLOCK, Words, output};
use crate::kernels::expression as kernel;

const _: () = assert!(STEPS_MAX == kernel::STEPS_MAX && INPUTS_MAX == 8);

/// The values of a step, by a launch that computes nothing else.
pub fn run(
    stream: &Stream,
    program: &Words,
    expression: &Expression,
    wanted: Output,
    inputs: &[&Words],
) -> Result<Words> {
    let Output { step, is_row } = wanted;
    let scalar = expression.steps[step].scalar;
    let mut out = output(stream, scalar, expression.output_len(wanted) as u32)?;
    let is_row = u32::from(is_row);
    let numbers = [step as u32, expression.rows as u32, expression.columns as u32, is_row];
    let input = |at: usize| inputs.get(at).map_or(program.as_slice(), |words| words.as_slice());
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    let call = kernel::expression(
        program,
        numbers,
        input(0),
        input(1),
        input(2),
        input(3),
        input(4),
        input(5),
        input(6),
        input(7),
        &mut out,
    );
    stream.launch(grid, call)?;
    Ok(out)
}

/// The steps as words on a device.
///
/// ## Errors
/// What an upload refuses.
pub fn uploaded(stream: &Stream, expression: &Expression) -> Result<Words> {
    Ok(stream.upload(&encoded(expression))?)
}

fn encoded(expression: &Expression) -> Vec<u64> {
    let mut words = Vec::new();
    for step in &expression.steps {
        let mut own = [0; kernel::STEP_WORDS];
        own[1] = step.scalar.code().into();
        match &step.kind {
            Kind::Number(bits) => {
                own[0] = kernel::KINDS[0];
                own[5] = *bits;
            }
            Kind::Read { input, places, is_row } => {
                own[0] = kernel::KINDS[1];
                own[2] = *input as u64;
                own[4] = u64::from(*is_row);
                put_places(&mut own, places);
            }
            Kind::Apply { class, function, alpha, beta, is_unsigned, operands } => {
                own[0] = kernel::KINDS[2];
                own[2] = match class {
                    Class::F32 => 0,
                    Class::F64 => 1,
                    Class::I64 => 2,
                };
                own[3] = function.code().into();
                own[4] = u64::from(*is_unsigned);
                (own[5], own[6]) = (alpha.to_bits(), beta.to_bits());
                own[7..].iter_mut().zip(operands).for_each(|(word, &at)| *word = at as u64);
            }
            Kind::Reduce { reduction, operand, is_unsigned } => {
                own[0] = kernel::KINDS[3];
                own[2] = reduction.code().into();
                own[4] = u64::from(*is_unsigned);
                own[7] = *operand as u64;
            }
        }
        words.extend(own);
    }
    words
}

fn put_places(own: &mut [u64; kernel::STEP_WORDS], places: &Places) {
    own[10] = places.offset as u64;
    own[11] = places.dims.len() as u64;
    for (axis, &(len, stride)) in places.dims.iter().enumerate() {
        own[12 + axis] = len as u64;
        own[21 + axis] = stride as u64;
    }
}
