"""Records whose fields are fixed and checked, as what is read from files must be."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A record whose fields are fixed and checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
