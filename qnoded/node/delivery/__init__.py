"""Keys to applications, as ETSI GS QKD 014 v1.1.1 (2019-02) says it: HTTPS, JSON, both sides known by certificate.

``requests`` reads what an application asks, ``answers`` writes what it gets, ``directory`` knows the applications, and
``server`` joins them with the key store. ``tls`` and ``demo_pki`` hold what belongs to certificates.
"""
