"""What a network says of rows, with an estimator's batch size, precision and cache."""

from __future__ import annotations

from mtbert.batching import rows_of_batch


class Runner:
    """Computes logits or embeddings.

    Parameters
    ----------
    estimator : MultimodalTextTabularClassifier
        Its parameters say how.
    network : Module
        On the device.
    device : torch.device
    """

    def __init__(self, estimator, network, device):
        self.estimator = estimator
        self.network = network
        self.device = device

    def __call__(self, rows, embed=False):
        """Return the logits of rows, or their fused embedding.

        Parameters
        ----------
        rows : Rows
        embed : bool, default=False

        Returns
        -------
        ndarray of float32 of shape (n, n_outputs) or (n, output_dim)
        """
        from mtbert.net import compute

        if self.estimator.encoder_cache is not None:
            rows = self.encode_once(rows)
        batch_size = rows_of_batch(self.estimator.batch_size)
        return compute(self.network, rows, batch_size, self.device, self._precision(), embed)

    def encode_once(self, rows):
        """Return the rows with what the encoders, which are frozen, make of their texts.

        Parameters
        ----------
        rows : Rows
        """
        from mtbert.encoder_cache import encode_once

        return encode_once(
            self.network,
            rows,
            batch_size=rows_of_batch(self.estimator.batch_size),
            device=self.device,
            precision=self._precision(),
            folder=find_cache(self.estimator),
        )

    def _precision(self):
        from mtbert.net import inference_precision

        return inference_precision(self.estimator.precision)


def find_cache(estimator):
    """Return the folder of an estimator's `encoder_cache`; None without.

    Raises
    ------
    ValueError
        If its network cannot have one.
    """
    if estimator.encoder_cache is None:
        return None
    from mtbert.encoder_cache import cache_folder, check_cacheable

    check_cacheable(estimator.architecture, estimator.network_options)
    return cache_folder(estimator.encoder_cache)
