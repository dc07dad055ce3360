//! Double dispatch by a visitor.
//! run: threads = 64

trait Visitor {
    fn leaf(&mut self, value: i32);
    fn branch(&mut self, left: &dyn Node, right: &dyn Node);
}

trait Node {
    fn accept(&self, visitor: &mut dyn Visitor);
}

struct Leaf(i32);
struct Branch<'a>(&'a dyn Node, &'a dyn Node);

impl Node for Leaf {
    fn accept(&self, visitor: &mut dyn Visitor) {
        visitor.leaf(self.0);
    }
}

impl Node for Branch<'_> {
    fn accept(&self, visitor: &mut dyn Visitor) {
        visitor.branch(self.0, self.1);
    }
}

struct Depth {
    now: u32,
    top: u32,
    sum: i32,
}

impl Visitor for Depth {
    fn leaf(&mut self, value: i32) {
        self.top = self.top.max(self.now);
        self.sum += value * self.now as i32;
    }
    fn branch(&mut self, left: &dyn Node, right: &dyn Node) {
        self.now += 1;
        left.accept(self);
        right.accept(self);
        self.now -= 1;
    }
}

pub fn program(thread: u32) -> (u32, i32) {
    let (a, b, c) = (Leaf(thread as i32), Leaf(-3), Leaf(10));
    let inner = Branch(&a, &b);
    let middle = Branch(&inner, &c);
    let roots: [&dyn Node; 3] = [&a, &inner, &Branch(&middle, &inner)];
    let mut depth = Depth { now: 0, top: 0, sum: 0 };
    roots[thread as usize % 3].accept(&mut depth);
    (depth.top, depth.sum)
}

// expect: 0,0 1,-2 3,15 0,0 1,1 3,30 0,0 1,4
// hash: 0x7603f1db3e257285 of 64 answers
