//! One algorithm, three policies, chosen by type.
//! run: threads = 64

trait Activation {
    fn apply(x: f32) -> f32;
}

struct Identity;
struct Relu;
struct Clip<const LIMIT: i32>;

impl Activation for Identity {
    fn apply(x: f32) -> f32 {
        x
    }
}

impl Activation for Relu {
    fn apply(x: f32) -> f32 {
        x.max(0.0)
    }
}

impl<const LIMIT: i32> Activation for Clip<LIMIT> {
    fn apply(x: f32) -> f32 {
        x.clamp(-(LIMIT as f32), LIMIT as f32)
    }
}

struct Then<A, B>(core::marker::PhantomData<(A, B)>);

impl<A: Activation, B: Activation> Activation for Then<A, B> {
    fn apply(x: f32) -> f32 {
        B::apply(A::apply(x) + 1.0)
    }
}

fn layer<A: Activation>(inputs: [f32; 3]) -> f32 {
    inputs.into_iter().map(A::apply).sum()
}

pub fn program(thread: u32) -> (f32, f32, f32, f32) {
    let t = thread as f32 - 32.0;
    let inputs = [t, -0.5 * t, 4.0];
    (
        layer::<Identity>(inputs),
        layer::<Relu>(inputs),
        layer::<Clip<6>>(inputs),
        layer::<Then<Relu, Clip<9>>>(inputs),
    )
}

// expect: -12.0,20.0,4.0,15.0 -11.5,19.5,4.0,15.0 -11.0,19.0,4.0,15.0 -10.5,18.5,4.0,15.0
// expect: -10.0,18.0,4.0,15.0 -9.5,17.5,4.0,15.0 -9.0,17.0,4.0,15.0 -8.5,16.5,4.0,15.0
// hash: 0xa3d298cb1f92f410 of 64 answers
