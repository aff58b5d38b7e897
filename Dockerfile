# One image for the portal, its dispatcher and a party; the command says which.
# slim, not alpine: the pinned wheels are built for glibc.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app:/app/platform \
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
RUN useradd --create-home --uid 10001 fourfold && install -d -o fourfold -m 700 /party /var/fourfold
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY manage.py gunicorn.conf.py ./
COPY mpcnode mpcnode
COPY monitoring monitoring
COPY analytics analytics
COPY providers providers
COPY workers workers
COPY platform platform
USER fourfold
CMD ["python", "-m", "gunicorn", "-c", "gunicorn.conf.py"]
