//! What a file says about itself, without making a graph of it: the types of
//! inputs and outputs and the operations, whether they are supported or not.

use raddle_tensor::graph::ValueType;

use crate::import::{NodeProto, value_info};
use crate::wire::Reader;
use crate::{Error, Result};

/// Names and types at the edges of a model, and its operations.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Inputs in order, those with initializers included.
    pub inputs: Vec<(String, Option<ValueType>)>,
    /// Outputs in order.
    pub outputs: Vec<(String, Option<ValueType>)>,
    /// Operation of each node of the main graph, in order.
    pub ops: Vec<String>,
}

impl Outline {
    /// Reads the outline of a model.
    ///
    /// ## Errors
    /// [`Error::Wire`]; [`Error::Model`] if there is no graph.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut outline = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next_field()? {
            if number == 7 {
                outline = Some(Self::of_graph(field.message()?)?);
            }
        }
        outline.ok_or_else(|| Error::model("the model", "has no graph"))
    }

    fn of_graph(mut reader: Reader<'_>) -> Result<Self> {
        let mut outline = Self::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => outline.ops.push(NodeProto::read(field.message()?)?.op.into()),
                11 | 12 => {
                    let (name, declared) = value_info(field.message()?)?;
                    let list =
                        if number == 11 { &mut outline.inputs } else { &mut outline.outputs };
                    list.push((name.into(), declared));
                }
                _ => {}
            }
        }
        Ok(outline)
    }
}
