//! A view of a buffer does not outlive it.
use raddle::{Error, Stream};

pub fn view(stream: &Stream) -> Result<raddle::Slice<'static, f32>, Error> {
    let x = stream.zeros::<f32>(16)?;
    Ok(x.as_slice()) //~ ERROR cannot return value referencing local variable `x`
}
