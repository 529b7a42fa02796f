//! Which fields of a part are its state: listed once, for saving, loading, and the end of a step alike.

use layerwise_linalg::{Cholesky, Scalar, check_symmetric, gram};
use ndarray::{Array2, ArrayView2};

use crate::error::Result;
use crate::values::{StateReader, StateWriter, refuse};

/// Something whose value is kept in an optimizer's state: in that of a stage such as
/// `update.1.kronecker`, at a path such as `left.average`.
pub(crate) trait Persist<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>);

    /// On an error, `self` may be partly overwritten: load into what can be thrown away.
    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()>;

    /// Forgets what is [proposed](crate::state::staged::Staged) of it.
    fn discard(&mut self) {}

    /// Keeps what is proposed of it.
    fn commit(&mut self) {}
}

pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Implements [`Persist`] for a struct by the fields that are its state, each at a path of its own;
/// what is not listed is configuration, or computed anew at each step. Of an enum it lists the
/// variants, with such fields, or with a single part at the enum's own path.
macro_rules! persist {
    ($type:ident { $($field:ident),+ $(,)? } $(checked by $check:ident)?) => {
        impl<A: layerwise_linalg::Scalar> crate::state::persist::Persist<A> for $type {
            crate::state::persist::persist!(@methods $($field),+ $(; $check)?);
        }
    };
    ($type:ident<A> { $($field:ident),+ $(,)? } $(checked by $check:ident)?) => {
        impl<A: layerwise_linalg::Scalar> crate::state::persist::Persist<A> for $type<A> {
            crate::state::persist::persist!(@methods $($field),+ $(; $check)?);
        }
    };
    (enum $type:ident<A> {
        $($variant:ident $(($part:ident))? $({ $($field:ident),+ })?),+ $(,)?
    } $(checked by $check:ident)?) => {
        impl<A: layerwise_linalg::Scalar> crate::state::persist::Persist<A> for $type<A> {
            fn save<'s>(
                &'s self,
                path: &str,
                out: &mut crate::values::StateWriter<'s, A>,
            ) {
                use crate::state::persist::Persist;
                match self {
                    $(Self::$variant $(($part))? $({ $($field,)+ .. })? => {
                        $(Persist::save($part, path, out);)?
                        $($(Persist::save($field, &crate::state::persist::join(path, stringify!($field)), out);)+)?
                    })+
                }
            }

            fn load(
                &mut self,
                path: &str,
                from: &mut crate::values::StateReader<'_, A>,
            ) -> crate::error::Result<()> {
                use crate::state::persist::Persist;
                match self {
                    $(Self::$variant $(($part))? $({ $($field,)+ .. })? => {
                        $(Persist::load($part, path, from)?;)?
                        $($(Persist::load($field, &crate::state::persist::join(path, stringify!($field)), from)?;)+)?
                    })+
                }
                $(self.$check(path)?;)?
                Ok(())
            }

            fn discard(&mut self) {
                match self {
                    $(Self::$variant $(($part))? $({ $($field,)+ .. })? => {
                        $(crate::state::persist::Persist::<A>::discard($part);)?
                        $($(crate::state::persist::Persist::<A>::discard($field);)+)?
                    })+
                }
            }

            fn commit(&mut self) {
                match self {
                    $(Self::$variant $(($part))? $({ $($field,)+ .. })? => {
                        $(crate::state::persist::Persist::<A>::commit($part);)?
                        $($(crate::state::persist::Persist::<A>::commit($field);)+)?
                    })+
                }
            }
        }
    };
    (@methods $($field:ident),+ $(; $check:ident)?) => {
        fn save<'s>(
                &'s self,
                path: &str,
                out: &mut crate::values::StateWriter<'s, A>,
            ) {
            use crate::state::persist::{Persist, join};
            $(Persist::save(&self.$field, &join(path, stringify!($field)), out);)+
        }

        fn load(
            &mut self,
            path: &str,
            from: &mut crate::values::StateReader<'_, A>,
        ) -> crate::error::Result<()> {
            use crate::state::persist::{Persist, join};
            $(Persist::load(&mut self.$field, &join(path, stringify!($field)), from)?;)+
            $(self.$check(path)?;)?
            Ok(())
        }

        fn discard(&mut self) {
            $(crate::state::persist::Persist::<A>::discard(&mut self.$field);)+
        }

        fn commit(&mut self) {
            $(crate::state::persist::Persist::<A>::commit(&mut self.$field);)+
        }
    };
}
pub(crate) use persist;

/// The methods of a stage whose state is that of its [`Persist`], no more.
macro_rules! stage_state {
    () => {
        fn commit(&mut self) {
            crate::state::persist::Persist::<A>::commit(self);
        }

        fn save<'s>(&'s self, out: &mut crate::values::StateWriter<'s, A>) {
            crate::state::persist::Persist::save(self, "", out);
        }

        fn load(
            &mut self,
            from: &mut crate::values::StateReader<'_, A>,
        ) -> crate::error::Result<()> {
            crate::state::persist::Persist::load(self, "", from)
        }
    };
}
pub(crate) use stage_state;

impl<A: Scalar> Persist<A> for Array2<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.array(path, self.view());
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        from.array(path, self.view_mut())
    }
}

impl<A: Scalar> Persist<A> for u64 {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.count(path, *self);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        *self = from.count(path)?;
        Ok(())
    }
}

impl<A: Scalar> Persist<A> for u32 {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.count(path, u64::from(*self));
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        let count = from.count(path)?;
        *self = u32::try_from(count).map_err(|_| refuse(path, "is too large a count"))?;
        Ok(())
    }
}

impl<A: Scalar> Persist<A> for f64 {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.number(path, *self);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        *self = from.number(path)?;
        Ok(())
    }
}

impl<A: Scalar> Persist<A> for bool {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.flag(path, *self);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        *self = from.flag(path)?;
        Ok(())
    }
}

impl<A> Persist<A> for () {
    fn save<'s>(&'s self, _path: &str, _out: &mut StateWriter<'s, A>) {}

    fn load(&mut self, _path: &str, _from: &mut StateReader<'_, A>) -> Result<()> {
        Ok(())
    }
}

/// What is there is determined by the chain, and so is the same on both sides.
impl<A, T: Persist<A>> Persist<A> for Option<T> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        if let Some(value) = self {
            value.save(path, out);
        }
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |value| value.load(path, from))
    }

    fn discard(&mut self) {
        self.iter_mut().for_each(Persist::discard);
    }

    fn commit(&mut self) {
        self.iter_mut().for_each(Persist::commit);
    }
}

impl<A, T: Persist<A>> Persist<A> for Vec<T> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        for (index, value) in self.iter().enumerate() {
            value.save(&join(path, &index.to_string()), out);
        }
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        for (index, value) in self.iter_mut().enumerate() {
            value.load(&join(path, &index.to_string()), from)?;
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.iter_mut().for_each(Persist::discard);
    }

    fn commit(&mut self) {
        self.iter_mut().for_each(Persist::commit);
    }
}

impl<A, T: Persist<A>> Persist<A> for Box<T> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        (**self).save(path, out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        (**self).load(path, from)
    }

    fn discard(&mut self) {
        (**self).discard();
    }

    fn commit(&mut self) {
        (**self).commit();
    }
}

impl<A: Scalar> Persist<A> for Cholesky<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.array(path, self.lower());
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        let mut lower = self.lower().to_owned();
        lower.load(path, from)?;
        self.set_lower(lower.view()).map_err(|_| refuse(path, "is no Cholesky factor"))
    }
}

/// Tells a basis from what is none; what rounding makes of one is far within √ε.
pub(crate) fn check_orthonormal<A: Scalar>(path: &str, vectors: ArrayView2<'_, A>) -> Result<()> {
    if departure_from_orthonormal(vectors)? <= A::epsilon().as_f64().sqrt() {
        return Ok(());
    }
    Err(refuse(path, "has columns that are not orthonormal"))
}

/// `max|VᵀV − I|`.
pub(crate) fn departure_from_orthonormal<A: Scalar>(vectors: ArrayView2<'_, A>) -> Result<f64> {
    let mut products = Array2::zeros((vectors.ncols(), vectors.ncols()));
    gram(A::one(), vectors.t(), A::zero(), &mut products.view_mut())?;
    let departures = products.indexed_iter().map(|((i, j), x)| {
        let expected = if i == j { 1.0 } else { 0.0 };
        (x.as_f64() - expected).abs()
    });
    Ok(departures.fold(0.0, f64::max))
}

/// Refuses what differs from its transpose by more than rounding.
pub(crate) fn check_loaded_symmetric<A: Scalar>(
    path: &str,
    matrix: ArrayView2<'_, A>,
) -> Result<()> {
    check_symmetric(matrix).map_err(|_| refuse(path, "is not symmetric"))
}
