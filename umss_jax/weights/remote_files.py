"""Where the published weight files are, each at a pinned commit and with a pinned hash.

Two kinds of pin. SHA-256 where the bytes at that commit have been read and hashed. Where they have
not (the file was not at hand), the git object id that the pinned commit itself records for the
file: SHA-1 over its length and bytes. That ties the file to the commit, with the lesser strength
of SHA-1; `sha256` is None there, and `fetch` says so.

The trained models of the 2024 paper lie on a file-sharing service without commits or hashes; they
cannot be pinned and are not listed. Download them by hand and ``umss-jax weights import`` them.
"""

from __future__ import annotations

from dataclasses import dataclass

UMSS_2024 = ("PierreChouteau/umss_icassp", "ddda7d29e05dbe7c0bf382d1498b93736c48618e")
UMSS_2023 = ("schufo/umss", "0e6adcc8ba2c244d2940a0a8215d7a914190e869")
MULTI_F0 = (
    "helenacuesta/multif0-estimation-polyvocals",
    "4960f5415f8a170f2ff8d5b776bfd4cb5576d3ba",
)
VOAS = ("helenacuesta/voas-vocal-quartets", "9b4341f072effdcf0d214694bc24f96eea962427")


@dataclass(frozen=True)
class RemoteFile:
    """One file at a pinned commit.

    Attributes:
        repository: ``owner/name`` on GitHub.
        commit: full commit id.
        path: path in the repository.
        place: path below ``downloads/<name>`` in the cache.
        sha256: of the bytes, None where they were never at hand.
        git_object: id of the file in the commit, checked where there is no SHA-256.
    """

    repository: str
    commit: str
    path: str
    place: str
    sha256: str | None = None
    git_object: str | None = None

    def url(self, base: str) -> str:
        """Address below a base that is laid out as raw.githubusercontent.com."""
        return f"{base.rstrip('/')}/{self.repository}/{self.commit}/{self.path}"

    @property
    def pin(self) -> str:
        """The pin in words."""
        if self.sha256:
            return f"SHA-256 {self.sha256}"
        return f"git object {self.git_object} (SHA-1; no SHA-256 is known)"


# By the rest of the file name.
_ASSIGNER_SHA256 = {
    "branch1": "974591d163f0e56ed578c9b00ce36154b4bacf9df551513941d916d97a0328a8",
    "branch2": "822c4462524558a2917783656dca7a949c54379b23836cf00fde979ada4fe37c",
    "branch3": "29264103b1f661c7dd58abbbfd3f24fc40f93e628f929fb80a61ce7e49afcfd4",
    "branch4": "3182dcc3bd00077aff34705ce1c16e54468f90de5bf5060f54252c92172027ff",
    "f0_assigner": "b78f7701fca85ee607b57c9fbda5afac4f7e5b248b5ce15fe2b46cd81f6d4c55",
    "postprocess1_bias": "81c77bd4e04afe682108bb879e8de025d312e8de1edaebddf56a065bda0a5fdf",
    "postprocess1_weights": "1f9dcbc36942cd34b97f80b7ae47af3059426a839a31ba9ed2cab8829ed73505",
    "postprocess2_bias": "87bbe6c430985edce8bae1dcb28a4831cd69ea64057e5e93fb43909e813a62ff",
    "postprocess2_weights": "23bf182481c5c3b60dcf22a648b0ccfb9fd647bcf5d909211361e6dc3f87b9b2",
    "postprocess3_bias": "12b21f9bed043d724c261141c310128cb21a2500ec6aa4b2151179c3af66ab3b",
    "postprocess3_weights": "e3f0837c0aec539088cbfa5cea25abb5876c12bdecfb5d2b67f4dbe8d8b24e2c",
    "postprocess4_bias": "12b21f9bed043d724c261141c310128cb21a2500ec6aa4b2151179c3af66ab3b",
    "postprocess4_weights": "c8ce64cb62ead99abbae72716063f2b0918b96aad59c8bdb15730df76a86e237",
}
_ESTIMATOR_SHA256 = {
    "base_model1": "44d8be428461bcd2e5cd67ee263eccd2d79b9695700fbb86320cf3a88670ae96",
    "base_model2": "ca106ef2e2abb7e7a25432a00ada4912f5d94a2a6ddc0b804a378403ae25bce4",
    "cuesta": "7d76e4f5e6841f12f762feb382221bbc7f8b880b45b743769a974c8caef47582",
}


def _published(folder: str, prefix: str, hashes: dict[str, str]) -> tuple[RemoteFile, ...]:
    places = {f"{folder}/{prefix}{rest}.npy": sha256 for rest, sha256 in hashes.items()}
    return tuple(
        RemoteFile(*UMSS_2024, f"pre-trained_models/{place}", place, sha256)
        for place, sha256 in places.items()
    )


def _single(origin: tuple[str, str], path: str, **pin: str) -> tuple[RemoteFile, ...]:
    return (RemoteFile(*origin, path, place=path.rsplit("/", 1)[-1], **pin),)


_MULTI_F0_FILES = (
    ("early-deep", "exp1multif0.pkl", "26d55698485b563ccf443c9c4a2cad1abb7d04a3"),
    ("early-shallow", "exp2multif0.pkl", "fd63984837a420f537a4488811e03ac667dc9485"),
    ("late-deep", "exp3multif0.pkl", "a8c7b72bd89f61af2b29b488df79310cec762bde"),
    # Trained without the BSQ, and without reverberant files.
    ("late-deep-without-bsq", "exp4multif0.pkl", "bc631f4aff77a447ace532c67bfba62c72f1eb1b"),
    ("late-deep-without-reverb", "exp5multif0.pkl", "3403f481d800c97745a4d5b771859fbba7d73a03"),
)

SOURCES: dict[str, tuple[RemoteFile, ...]] = {
    # Late/Deep and VoasCNN as the 2024 paper's code ships them.
    "published": (
        *_published("multi-f0_estimator", "", _ESTIMATOR_SHA256),
        *_published("multi-f0_assigner", "voas_cnn_", _ASSIGNER_SHA256),
    ),
    "voas-cnn": _single(
        VOAS,
        "models/voas_cnn.h5",
        sha256="af7dd8e72f6dc600fe35cec170002ce20c261b2eb95e720c3bda5a1fe7033963",
    ),
    "voas-clstm": _single(
        VOAS, "models/voas_clstm.h5", git_object="23177d358f5bff6afba89449cdb07a1b9258b0d5"
    ),
    **{
        name: _single(MULTI_F0, f"models/{file}", git_object=git_object)
        for name, file, git_object in _MULTI_F0_FILES
    },
    "umss-2023-2-voices": _single(
        UMSS_2023,
        "trained_models/unsupervised_2s_satb_bcbq_mf0_1/unsupervised_2s_satb_bcbq_mf0_1.pth",
        git_object="1b85d02a898f37802c116bd5892f8b64109f9a96",
    ),
    "umss-2023-4-voices": _single(
        UMSS_2023,
        "trained_models/unsupervised_4s_satb_bcbq_mf0_1_again/"
        "unsupervised_4s_satb_bcbq_mf0_1_again.pth",
        git_object="7e6b7ba6c22a5e99960db5bba54b3c317092dee4",
    ),
}
"""Files by the name under which `fetch` brings them."""
