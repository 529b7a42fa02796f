//! Workspace that is lent for the length of a call: layers that are not stepped at the same time share it.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layerwise_linalg::{
    Cholesky, CoupledNewtonWorkspace, ExactPolar, PolarWorkspace, RowOrthonormalizer, Scalar,
    SymmetricEigen,
};
use ndarray::{Array1, Array2, Axis, aview1};

/// A handle on arrays and workspaces of the linear algebra. What is lent has arbitrary contents.
///
/// The lock is held to take something and to give it back, never while it is used.
pub(crate) struct Pool<A>(Arc<Mutex<Shelves<A>>>);

/// What is not lent. What was given back last is lent first, as it is in the cache.
struct Shelves<A> {
    arrays: Vec<Vec<A>>,
    workspaces: BTreeMap<Key, Vec<Box<dyn Workspace>>>,
}

/// What a workspace is, and for which shape.
type Key = (TypeId, (usize, usize));

/// Makes a workspace for a shape.
type Make = fn((usize, usize)) -> Box<dyn Workspace>;

/// Storage of a routine for one shape.
pub(crate) trait Workspace: Any + Send {
    fn with_shape(shape: (usize, usize)) -> Self
    where
        Self: Sized;

    fn memory_bytes(&self) -> usize;

    /// Makes what can be read of it meaningless.
    fn spoil(&mut self) {}
}

/// What one layer is lent at most at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Entries of arrays, in descending order.
    arrays: Vec<usize>,
    workspaces: BTreeMap<Key, Make>,
}

impl Needs {
    pub(crate) fn arrays(count: usize, shape: (usize, usize)) -> Self {
        Needs { arrays: vec![shape.0 * shape.1; count], workspaces: BTreeMap::new() }
    }

    pub(crate) fn workspace<W: Workspace>(shape: (usize, usize)) -> Self {
        let make: Make = |shape| Box::new(W::with_shape(shape));
        Needs { arrays: Vec::new(), workspaces: BTreeMap::from([(key::<W>(shape), make)]) }
    }

    /// Both at the same time.
    pub(crate) fn and(mut self, other: Needs) -> Self {
        self.arrays.extend(other.arrays);
        self.arrays.sort_unstable_by(|a, b| b.cmp(a));
        self.workspaces.extend(other.workspaces);
        self
    }

    /// One after the other.
    pub(crate) fn or(mut self, other: Needs) -> Self {
        let count = self.arrays.len().max(other.arrays.len());
        self.arrays.resize(count, 0);
        for (own, other) in self.arrays.iter_mut().zip(other.arrays) {
            *own = other.max(*own);
        }
        self.workspaces.extend(other.workspaces);
        self
    }
}

fn key<W: Workspace>(shape: (usize, usize)) -> Key {
    (TypeId::of::<W>(), shape)
}

impl<A> Pool<A> {
    pub(crate) fn new() -> Self {
        Pool(Arc::new(Mutex::new(Shelves { arrays: Vec::new(), workspaces: BTreeMap::new() })))
    }

    /// Between two calls nothing is half done, whatever panicked.
    fn shelves(&self) -> MutexGuard<'_, Shelves<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of what is not lent.
    pub(crate) fn memory_bytes(&self) -> usize {
        let shelves = self.shelves();
        let arrays = shelves.arrays.iter().map(|array| array.capacity() * size_of::<A>());
        let workspaces = shelves.workspaces.values().flatten();
        arrays.sum::<usize>() + workspaces.map(|w| w.memory_bytes()).sum::<usize>()
    }
}

impl<A: Scalar> Pool<A> {
    /// Makes what these layers are lent where up to so many are under way at once.
    pub(crate) fn reserve(&self, layers: &[&Needs], at_once: usize) {
        // Of each layer's largest arrays there are as many as the largest of them ask for, and so on.
        let mut wanted = Vec::new();
        for rank in 0..layers.iter().map(|needs| needs.arrays.len()).max().unwrap_or(0) {
            let mut sizes: Vec<_> =
                layers.iter().filter_map(|needs| needs.arrays.get(rank).copied()).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            wanted.extend(sizes.into_iter().take(at_once));
        }
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        let mut shelves = self.shelves();
        shelves.arrays.sort_by_key(|array| std::cmp::Reverse(array.capacity()));
        let missing = wanted.len().saturating_sub(shelves.arrays.len());
        shelves.arrays.extend((0..missing).map(|_| Vec::new()));
        for (array, len) in shelves.arrays.iter_mut().zip(wanted) {
            if array.capacity() < len {
                // The former one is freed first.
                *array = Vec::new();
                *array = vec![A::zero(); len];
            }
        }
        let mut counts = BTreeMap::new();
        for (&key, make) in layers.iter().flat_map(|needs| &needs.workspaces) {
            let count = counts.entry(key).or_insert(0);
            *count = at_once.min(*count + 1);
            let shelf = shelves.workspaces.entry(key).or_default();
            if shelf.len() < *count {
                shelf.push(make(key.1));
            }
        }
    }

    /// Lends an array: the smallest that is large enough, or where there is none, a new one in the place
    /// of the largest.
    pub(crate) fn array(&self, shape: (usize, usize)) -> Lent<A> {
        let len = shape.0 * shape.1;
        let mut entries = if len == 0 { Vec::new() } else { self.shelves().take(len) };
        if entries.capacity() < len {
            entries = Vec::new();
            entries.reserve_exact(len);
        }
        entries.resize(len, A::zero());
        if cfg!(debug_assertions) {
            // Shows in every test what is read before it is written.
            entries.fill(A::nan());
        }
        let array = Array2::from_shape_vec(shape, entries);
        Lent { array: array.unwrap_or_else(|_| Array2::zeros(shape)), pool: self.clone() }
    }

    /// Lends a workspace.
    pub(crate) fn with<W: Workspace, T>(
        &self,
        shape: (usize, usize),
        work: impl FnOnce(&mut W) -> T,
    ) -> T {
        let free = self.shelves().workspaces.get_mut(&key::<W>(shape)).and_then(Vec::pop);
        let mut workspace = free
            .and_then(|workspace| (workspace as Box<dyn Any>).downcast().ok())
            .unwrap_or_else(|| Box::new(W::with_shape(shape)));
        if cfg!(debug_assertions) {
            workspace.spoil();
        }
        let done = work(&mut workspace);
        self.shelves().workspaces.entry(key::<W>(shape)).or_default().push(workspace);
        done
    }
}

impl<A> Shelves<A> {
    fn take(&mut self, len: usize) -> Vec<A> {
        let preference = |&at: &usize| match self.arrays[at].capacity() {
            size if size >= len => (false, size),
            size => (true, usize::MAX - size),
        };
        let best = (0..self.arrays.len()).rev().min_by_key(preference);
        best.map_or(Vec::new(), |at| self.arrays.remove(at))
    }
}

impl<A> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Pool(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// An array that goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent<A> {
    array: Array2<A>,
    pool: Pool<A>,
}

impl<A> Deref for Lent<A> {
    type Target = Array2<A>;

    fn deref(&self) -> &Array2<A> {
        &self.array
    }
}

impl<A> DerefMut for Lent<A> {
    fn deref_mut(&mut self) -> &mut Array2<A> {
        &mut self.array
    }
}

impl<A> Drop for Lent<A> {
    fn drop(&mut self) {
        let nothing = Array1::from_vec(Vec::new()).insert_axis(Axis(0));
        let (entries, _) = std::mem::replace(&mut self.array, nothing).into_raw_vec_and_offset();
        if entries.capacity() > 0 {
            self.pool.shelves().arrays.push(entries);
        }
    }
}

/// Implements [`Workspace`] by what makes one of a shape, and what spoils it.
macro_rules! workspace {
    ($type:ident, $shape:pat => $made:expr $(, $spoil:ident)?) => {
        impl<A: Scalar> Workspace for $type<A> {
            fn with_shape($shape: (usize, usize)) -> Self {
                $made
            }

            fn memory_bytes(&self) -> usize {
                self.memory_bytes()
            }
            $(
                fn spoil(&mut self) {
                    $spoil(self);
                }
            )?
        }
    };
}

workspace!(SymmetricEigen, (n, _) => SymmetricEigen::with_dimension(n), spoil);
workspace!(RowOrthonormalizer, (k, d) => RowOrthonormalizer::with_shape(k, d));
workspace!(PolarWorkspace, (r, c) => PolarWorkspace::with_shape(r, c));
workspace!(ExactPolar, (r, c) => ExactPolar::with_shape(r, c));
workspace!(CoupledNewtonWorkspace, (n, _) => CoupledNewtonWorkspace::with_dimension(n));
workspace!(Cholesky, (n, _) => Cholesky::with_dimension(n));

fn spoil<A: Scalar>(eigen: &mut SymmetricEigen<A>) {
    let n = eigen.dimension();
    let huge = [A::max_value()];
    let huge = aview1(&huge);
    if let (Some(values), Some(vectors)) = (huge.broadcast(n), huge.broadcast((n, n))) {
        _ = eigen.set(values, vectors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(pool: &Pool<f64>) -> Vec<usize> {
        let mut sizes: Vec<_> = pool.shelves().arrays.iter().map(Vec::capacity).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn there_are_as_many_of_each_size_as_are_lent_at_once() {
        let pool = Pool::<f64>::new();
        let large = Needs::arrays(2, (10, 10)).and(Needs::arrays(1, (3, 3)));
        let small = Needs::arrays(3, (2, 3)).or(Needs::arrays(1, (4, 4)));
        assert_eq!(small.arrays, [16, 6, 6]);
        pool.reserve(&[&small], 1);
        pool.reserve(&[&large], 1);
        assert_eq!(sizes(&pool), [9, 100, 100]);
        // Of the small ones there are two, of the large one there is one.
        pool.reserve(&[&small, &large, &small], 3);
        assert_eq!(sizes(&pool), [6, 6, 6, 6, 9, 16, 16, 100, 100]);
        pool.reserve(&[&small, &large, &small], 2);
        assert_eq!(sizes(&pool).len(), 9);
        assert_eq!(pool.memory_bytes(), 8 * sizes(&pool).iter().sum::<usize>());
    }

    #[test]
    fn the_smallest_that_is_large_enough_is_lent_and_else_the_largest_replaced() {
        let pool = Pool::<f64>::new();
        pool.reserve(&[&Needs::arrays(1, (2, 2)).and(Needs::arrays(1, (3, 3)))], 1);
        let array = pool.array((1, 3));
        assert_eq!((array.dim(), sizes(&pool)), ((1, 3), vec![9]));
        drop(array);
        drop(pool.array((4, 4)));
        assert_eq!(sizes(&pool), [4, 16]);
        let (first, second, third) = (pool.array((2, 2)), pool.array((2, 2)), pool.array((2, 2)));
        assert!(sizes(&pool).is_empty());
        assert_eq!(pool.array((0, 7)).dim(), (0, 7));
        drop((first, second, third));
        assert_eq!(sizes(&pool), [4, 4, 16]);
    }

    #[test]
    fn what_was_given_back_last_is_lent_first_and_says_nothing() {
        let pool = Pool::<f64>::new();
        let (mut first, second) = (pool.array((2, 3)), pool.array((2, 3)));
        first.fill(1.0);
        let place = first.as_ptr();
        drop(second);
        drop(first);
        let again = pool.array((3, 2));
        assert_eq!(again.as_ptr(), place);
        assert_eq!(again.iter().all(|x| x.is_nan()), cfg!(debug_assertions));
    }

    #[test]
    fn a_workspace_serves_its_shape_and_survives_no_panic() {
        let pool = Pool::<f64>::new();
        let needs = [2, 2, 5].map(|n| Needs::workspace::<SymmetricEigen<f64>>((n, n)));
        pool.reserve(&needs.each_ref(), 2);
        let count = |pool: &Pool<f64>| pool.shelves().workspaces.values().flatten().count();
        assert_eq!(count(&pool), 3);
        let dimension = |eigen: &mut SymmetricEigen<f64>| eigen.dimension();
        assert_eq!(pool.with((5, 5), dimension), 5);
        assert_eq!(pool.with((7, 7), dimension), 7);
        assert_eq!(count(&pool), 4);
        let panics = || pool.with((5, 5), |_: &mut SymmetricEigen<f64>| panic!("a test"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(count(&pool), 3);
        // A lock that a panic left behind.
        let held = || {
            let _shelves = pool.shelves();
            panic!("a test")
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(held)).is_err());
        assert_eq!(pool.array((2, 2)).dim(), (2, 2));
    }
}
