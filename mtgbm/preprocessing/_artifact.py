"""The files of a fitted transformer."""

import json
import pickle
from pathlib import Path


class FileArtifact:
    """Writes `to_dict` of a fitted transformer to two files and reads it back from one.

    A subclass names its files in `_artifact_name` and has `to_dict` and `from_dict`.
    """

    _artifact_name: str

    def to_dict(self) -> dict:
        """Return the fitted state as a dict that JSON can hold."""
        raise NotImplementedError

    def to_files(self, folder) -> None:
        """Write `to_dict` as a JSON file and as a pickle of the same plain dict.

        Parameters
        ----------
        folder : str or path-like
            Made if it does not exist; older files of the same name are replaced.
        """
        content = self.to_dict()
        text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self._artifact_name}.json").write_text(text, encoding="utf-8")
        (folder / f"{self._artifact_name}.pkl").write_bytes(pickle.dumps(content))

    @classmethod
    def from_files(cls, folder, **params):
        """Read the transformer that `to_files` wrote.

        Only the JSON file is read: loading a pickle runs whatever code its author put there. The
        pickle is for programs that expect one.

        Parameters
        ----------
        folder : str or path-like
            Where the files are.
        **params
            Passed on to `from_dict`.

        Returns
        -------
        transformer
            Fitted: ready to `transform`.

        Raises
        ------
        FileNotFoundError
            If the folder holds no such JSON file.
        ValueError
            If its content is not what `to_dict` gives.
        """
        text = (Path(folder) / f"{cls._artifact_name}.json").read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text), **params)
